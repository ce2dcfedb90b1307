#!/usr/bin/env python3
"""Checks the pages: every link of ours leads somewhere, its anchor included,
and every source file that is named exists.  Each line printed is one fault.
"""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SKIP = {'build', '.opay', '.git'}


def pages():
    for folder, inside, files in os.walk('.'):
        inside[:] = [d for d in inside if d not in SKIP]
        for name in files:
            if name.endswith('.md'):
                yield os.path.normpath(os.path.join(folder, name))


def anchors(page):
    with open(page) as f:
        heads = re.findall(r'^#+ (.*)$', f.read(), re.M)

    return {re.sub(r'[^\w\- ]', '', h.strip().lower()).replace(' ', '-')
            for h in heads}


def main():
    os.chdir(ROOT)

    sources = {os.path.basename(f) for f in glob.glob('*/*.[ch]')
               + glob.glob('*/*/*.[ch]') if not f.startswith('build/')}
    faults = 0

    for page in sorted(pages()):
        with open(page) as f:
            text = f.read()

        for link in re.findall(r'\]\(([^)\s]+)\)', text):
            if re.match(r'[a-z]+:', link):
                continue

            path, _, anchor = link.partition('#')
            target = os.path.normpath(os.path.join(os.path.dirname(page),
                                                   path)) if path else page

            if not os.path.exists(target):
                print('%s: %s is not there' % (page, link))
                faults += 1
            elif anchor and anchor not in anchors(target):
                print('%s: %s has no such heading' % (page, link))
                faults += 1

        for name in re.findall(r'`(?:[\w-]+/)*((?:ngx_)?opay_\w+\.[ch])\b',
                               text):
            if name not in sources:
                print('%s: %s does not exist' % (page, name))
                faults += 1

    return faults != 0


if __name__ == '__main__':
    sys.exit(main())
