"""What the fault tests share: the running stack, and a client that retries
as the contract says."""

import collections
import http.client
import json
import os
import random
import subprocess
import sys
import time
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

results = collections.Counter()


def check(ok, name, detail=''):
    if ok:
        results['passed'] += 1
        print('ok', name)
    else:
        results['failed'] += 1
        print('not ok', name)
        for line in str(detail).splitlines()[:10]:
            print('#', line)

    sys.stdout.flush()


def finish(name):
    print('%s: %d passed, %d failed' % (name, results['passed'],
                                        results['failed']))
    sys.exit(results['failed'] != 0 or results['passed'] == 0)


def shell(script, **kw):
    """Runs bash with ./opay's own settings and functions."""

    return subprocess.run(
        ['bash', '-c', '. "%s/tools/opay/lib.sh" >&2; %s' % (ROOT, script)],
        stdout=subprocess.PIPE, text=True,
        env=dict(os.environ, OPAY_ROOT=ROOT), **kw)


def settings():
    """The paths and ports that ./opay itself would use."""

    out = shell('echo "$RUN"; echo "$STATE"; echo "${ports[gateway]}"; '
                'echo "${ports[kafka]}"; echo $(programs)',
                check=True).stdout
    run, state, gateway, kafka, programs = out.splitlines()[:5]

    return run, state, int(gateway), int(kafka), programs.split()


class Client:
    """One connection to the gateway."""

    def __init__(self, port):
        self.port = port
        self.conn = None
        self.token = None

    def call(self, method, path, body=None, key=None, timeout=15):
        """(status, headers, body bytes); None when nobody answered."""

        headers = {}

        if body is not None:
            body = json.dumps(body)
            headers['Content-Type'] = 'application/json'
        if key:
            headers['Idempotency-Key'] = key
        if self.token:
            headers['Authorization'] = 'Bearer ' + self.token

        try:
            if self.conn is None:
                self.conn = http.client.HTTPConnection(
                    '127.0.0.1', self.port, timeout=timeout)
            self.conn.request(method, path, body, headers)
            r = self.conn.getresponse()
            data = r.read()
            return r.status, dict(r.headers), data
        except (OSError, http.client.HTTPException):
            if self.conn:
                self.conn.close()
            self.conn = None
            return None

    def until(self, wanted, method, path, body=None, key=None, deadline=90):
        """Retries what may be retried; (status, headers, bytes)."""

        end = time.monotonic() + deadline
        last = None
        pause = 0.05

        while time.monotonic() < end:
            r = self.call(method, path, body, key)

            if r:
                last = r
                if r[0] in wanted:
                    return r
                if r[0] == 401 and self.token:
                    self.login()
                elif r[0] not in (409, 429, 500, 502, 503, 504):
                    break

            time.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 1.5, 1.0)

        raise AssertionError('%s %s: wanted %s, last %s' % (
            method, path, wanted, last and (last[0], last[2][:300])))

    def signup(self):
        self.email = 'c%s@example.com' % uuid.uuid4().hex
        self.password = 'chaos ' + uuid.uuid4().hex
        # a signup whose answer was lost is taken: that is its success
        self.until((201, 409), 'POST', '/api/auth/signup', {
            'email': self.email, 'password': self.password, 'name': 'Chaos'})
        self.login()

    def login(self):
        self.token = None
        r = self.until((200,), 'POST', '/api/auth/login', {
            'email': self.email, 'password': self.password})
        self.token = json.loads(r[2])['accessToken']


def wait(what, seconds, cond):
    end = time.monotonic() + seconds

    while time.monotonic() < end:
        got = cond()
        if got:
            return got
        time.sleep(0.2)

    print('# waited %d s for: %s' % (seconds, what))
    return None


def topics(kafka):
    """ce_id of every message on the four topics, with its count."""

    seen = collections.Counter()

    for topic in ('order-events', 'payment-events', 'user-events',
                  'auth-events'):
        out = subprocess.run(
            ['kcat', '-b', '127.0.0.1:%d' % kafka, '-C', '-t', topic, '-e',
             '-q', '-f', '%h\n'], stdout=subprocess.PIPE, text=True,
            timeout=60).stdout

        for line in out.splitlines():
            for h in line.split(','):
                if h.startswith('ce_id='):
                    seen[h[6:]] += 1

    return seen


def stored():
    """ce_id of every event of the four stores."""

    sql = ' UNION ALL '.join(
        "SELECT CONCAT(agg_type, '-', LOWER(CONCAT_WS('-', "
        "SUBSTR(HEX(agg_id), 1, 8), SUBSTR(HEX(agg_id), 9, 4), "
        "SUBSTR(HEX(agg_id), 13, 4), SUBSTR(HEX(agg_id), 17, 4), "
        "SUBSTR(HEX(agg_id), 21))), '-', version) FROM opay_%s.events" % s
        for s in ('auth', 'user', 'order', 'payment'))
    out = shell('mysql_cmd -N --batch', input=sql, check=True).stdout

    return out.split()
