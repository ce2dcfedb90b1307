#!/usr/bin/env python3
"""/metrics of every status listener of the running stack: what promtool says
of it, and that docs/metrics.md names the same metrics.  Prints "ok ..." and
"not ok ..." lines.
"""

import os
import re
import shutil
import subprocess
import sys
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

count = {'ok': 0, 'not ok': 0}


def verdict(name, found):
    word = 'not ok' if found else 'ok'
    count[word] += 1
    print(word, name)
    for text in found:
        print('#', text)


def ports():
    """name -> port of every status listener; one layout has five in one."""

    out = subprocess.run(
        ['bash', '-c', '. "%s/tools/opay/lib.sh" && '
         'for p in "${!ports[@]}"; do echo "$p ${ports[$p]}"; done' % ROOT],
        check=True, text=True, stdout=subprocess.PIPE,
        env=dict(os.environ, OPAY_ROOT=ROOT)).stdout
    found = dict(line.split() for line in out.splitlines())

    return {name: port for name, port in sorted(found.items())
            if name.endswith('-status') or name.startswith('sidecar-')}


def main():
    seen = set()

    for name, port in ports().items():
        with urllib.request.urlopen('http://127.0.0.1:%s/metrics' % port,
                                    timeout=5) as r:
            text = r.read().decode()

        seen.update(re.findall(r'^# TYPE (\w+) ', text, re.M))

        said = re.findall(r'^# TYPE (\w+) ', text, re.M)
        bare = {re.sub(r'_(bucket|sum|count)$', '', m)
                for m in re.findall(r'^(\w+)[ {]', text, re.M)}
        verdict('%s: every series has its TYPE, once' % name,
                sorted(bare - set(said))
                + sorted(m for m in said if said.count(m) > 1))

        if shutil.which('promtool'):
            r = subprocess.run(['promtool', 'check', 'metrics'], input=text,
                               text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT)
            verdict('%s: promtool has no complaint' % name,
                    r.stdout.splitlines()[:5] if r.returncode else [])

    with open(ROOT + '/docs/metrics.md') as f:
        text = f.read().split('\n## What to watch')[0]

    rows = [line for line in text.splitlines() if line.startswith('| `opay_')]

    told = set()
    for row in rows:
        told.update(re.findall(r'`(opay_\w+)`', row.split('|')[1]))

    verdict('docs/metrics.md names what there is, and nothing else',
            ['%s is only in %s' % (m, 'the stack' if m in seen
                                   else 'docs/metrics.md')
             for m in sorted(seen ^ told)])

    print('metrics: %d passed, %d failed' % (count['ok'], count['not ok']))
    return count['not ok'] != 0


if __name__ == '__main__':
    sys.exit(main())
