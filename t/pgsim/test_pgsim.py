#!/usr/bin/env python3
"""pgsim over HTTP: Toss's calls, idempotency, tokens, faults, durability.

  PGSIM=path/to/pgsim t/pgsim/test_pgsim.py [-v] [TestClass.test_name]
"""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
PGSIM = os.environ.get('PGSIM', str(ROOT / 'build/bin/pgsim'))
PORTS = iter(range(int(os.environ.get('PGSIM_PORT', '42000')), 65000))
SECRET = 'test_sk_0123456789'


def oid():
    return str(uuid.uuid4())


def free_port():
    """These are ephemeral ports: any connection of this machine may have it."""
    for port in PORTS:
        try:
            with socket.create_server(('127.0.0.1', port)):
                return port
        except OSError:
            pass


class Sim:
    def __init__(self, **options):
        self.port = free_port()
        self.dir = tempfile.mkdtemp(prefix='pgsim-')
        self.secret = os.path.join(self.dir, 'secret')
        self.options = {'hold': '5', 'session_ttl': '1', **options}
        self.proc = None

        with open(self.secret, 'w') as f:
            f.write(SECRET + '\n')

        self.start()

    def args(self):
        return [PGSIM, '--listen', '127.0.0.1:%d' % self.port,
                '--db', os.path.join(self.dir, 'ledger.db'),
                '--secret-file', self.secret,
                '--hold', self.options['hold'],
                '--session-ttl', self.options['session_ttl']]

    def start(self):
        self.proc = subprocess.Popen(self.args(), stderr=subprocess.PIPE)
        deadline = time.monotonic() + 20

        while True:
            try:
                if self.call('GET', '/livez', auth=None)[0] == 200:
                    return
            except OSError:
                pass

            if time.monotonic() > deadline:
                raise RuntimeError(self.proc.communicate()[1].decode())

            if self.proc.poll() is not None:
                self.proc.communicate()
                self.proc = subprocess.Popen(self.args(),
                                             stderr=subprocess.PIPE)

            time.sleep(0.02)

    def kill(self, sig=signal.SIGKILL):
        self.proc.send_signal(sig)
        err = self.proc.communicate(timeout=10)[1].decode()

        if 'Sanitizer' in err or 'runtime error' in err:
            raise RuntimeError(err)

        return self.proc.returncode

    def close(self):
        rc = self.kill(signal.SIGTERM)
        shutil.rmtree(self.dir)
        return rc

    def call(self, method, path, body=None, key=None, auth=SECRET,
             timeout=20, headers=None):
        headers = dict(headers or {})

        if auth is not None:
            headers['Authorization'] = 'Basic ' + base64.b64encode(
                (auth + ':').encode()).decode()

        if key:
            headers['Idempotency-Key'] = key

        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)

        c = http.client.HTTPConnection('127.0.0.1', self.port,
                                       timeout=timeout)
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            raw = r.read()
            return r.status, json.loads(raw), raw
        finally:
            c.close()

    def confirm(self, order, token='tok_ok', amount=5000, key=None, **kw):
        return self.call('POST', '/v1/payments/confirm',
                         {'paymentKey': token, 'orderId': order,
                          'amount': amount}, key=key, **kw)

    def cancel(self, pkey, amount=None, key=None, reason='changed mind'):
        body = {'cancelReason': reason}
        if amount is not None:
            body['cancelAmount'] = amount
        return self.call('POST', '/v1/payments/%s/cancel' % pkey, body,
                         key=key)

    def query(self, order):
        return self.call('GET', '/v1/payments/orders/' + order)

    def ledger(self, order=''):
        path = '/_sim/ledger' + ('?orderId=' + order if order else '')
        return self.call('GET', path, auth=None)[1]

    def fault(self, **rule):
        status, o, _ = self.call('POST', '/_sim/faults', rule, auth=None)
        assert status == 201, o


class Base(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.sim = Sim()

    @classmethod
    def tearDownClass(cls):
        assert cls.sim.close() == 0

    def setUp(self):
        self.sim.call('DELETE', '/_sim/faults', auth=None)

    def refused(self, answer, status, code):
        self.assertEqual((answer[0], answer[1]['code']), (status, code))
        self.assertIn('message', answer[1])

    def lost(self, fn):
        """fn() gets no answer: the connection ends without one."""
        with self.assertRaises((http.client.HTTPException, OSError)):
            fn()


class Confirm(Base):
    def test_approved(self):
        o = oid()
        status, p, _ = self.sim.confirm(o, amount=15000)
        self.assertEqual(status, 200)
        self.assertEqual(p['status'], 'DONE')
        self.assertEqual(p['orderId'], o)
        self.assertEqual(p['totalAmount'], 15000)
        self.assertEqual(p['balanceAmount'], 15000)
        self.assertEqual(p['currency'], 'KRW')
        self.assertEqual((p['suppliedAmount'], p['vat']), (13636, 1364))
        self.assertIsNone(p['cancels'])
        self.assertIsNone(p['failure'])
        self.assertRegex(p['approvedAt'], r'^\d{4}-.*\+09:00$')
        self.assertEqual(self.sim.query(o)[1], p)
        self.assertEqual(
            self.sim.call('GET', '/v1/payments/' + p['paymentKey'])[1], p)

    def test_same_token_makes_two_payments(self):
        a = self.sim.confirm(oid())[1]
        b = self.sim.confirm(oid())[1]
        self.assertNotEqual(a['paymentKey'], b['paymentKey'])

    def test_second_confirm_of_an_order(self):
        o = oid()
        self.sim.confirm(o)
        self.refused(self.sim.confirm(o), 400, 'ALREADY_PROCESSED_PAYMENT')
        self.assertEqual(len(self.sim.ledger(o)['approvals']), 1)

    def test_declines(self):
        for token, code in (('tok_decline', 'REJECT_CARD_COMPANY'),
                            ('tok_insufficient_funds',
                             'REJECT_CARD_PAYMENT')):
            o = oid()
            self.refused(self.sim.confirm(o, token), 403, code)
            p = self.sim.query(o)[1]
            self.assertEqual(p['status'], 'ABORTED')
            self.assertEqual(p['failure']['code'], code)
            self.assertEqual(self.sim.ledger(o)['approvals'], [])

    def test_unknown_token(self):
        self.refused(self.sim.confirm(oid(), 'tok_nothing'), 404,
                     'NOT_FOUND_PAYMENT_SESSION')

    def test_small_amount(self):
        self.refused(self.sim.confirm(oid(), amount=99), 400,
                     'BELOW_MINIMUM_AMOUNT')

    def test_bad_bodies(self):
        o = oid()
        for body in ('', '{', '[]', '{}',
                     {'paymentKey': 'tok_ok', 'orderId': o},
                     {'paymentKey': 'tok_ok', 'orderId': o, 'amount': '1'},
                     {'paymentKey': 'tok_ok', 'orderId': o, 'amount': 1.5},
                     {'paymentKey': 'tok_ok', 'orderId': o, 'amount': -1},
                     {'paymentKey': 'tok_ok', 'orderId': o, 'amount': 2**60},
                     {'paymentKey': 'tok_ok', 'orderId': 'short',
                      'amount': 500},
                     {'paymentKey': 'tok_ok', 'orderId': 'a b c d e',
                      'amount': 500},
                     {'paymentKey': 'x' * 201, 'orderId': o, 'amount': 500},
                     '{"paymentKey":"tok_ok","paymentKey":"tok_ok",'
                     '"orderId":"%s","amount":500}' % o):
            self.refused(self.sim.call('POST', '/v1/payments/confirm', body),
                         400, 'INVALID_REQUEST')
        self.assertEqual(self.sim.ledger(o)['approvals'], [])

    def test_large_body(self):
        try:
            status = self.sim.call('POST', '/v1/payments/confirm',
                                   'x' * 200000)[0]
        except OSError:
            return
        self.assertEqual(status, 413)

    def test_auth(self):
        self.refused(self.sim.confirm(oid(), auth='wrong'), 401,
                     'UNAUTHORIZED_KEY')
        self.refused(self.sim.confirm(oid(), auth=SECRET[:-1]), 401,
                     'UNAUTHORIZED_KEY')
        self.refused(self.sim.confirm(oid(), auth=None), 403,
                     'INCORRECT_BASIC_AUTH_FORMAT')
        self.refused(self.sim.call('GET', '/v1/payments/x', auth=None), 403,
                     'INCORRECT_BASIC_AUTH_FORMAT')

    def test_missing(self):
        self.refused(self.sim.query(oid()), 404, 'NOT_FOUND_PAYMENT')
        self.refused(self.sim.call('GET', '/v1/payments/nothing'), 404,
                     'NOT_FOUND_PAYMENT')
        for path in ('/v1/other', '/v1/payments/a/b', '/', '/_sim/x'):
            self.refused(self.sim.call('GET', path), 404, 'NOT_FOUND')

    def test_test_code(self):
        self.refused(self.sim.confirm(
            oid(), headers={'TossPayments-Test-Code': 'PROVIDER_ERROR'}),
            400, 'PROVIDER_ERROR')


class Cancel(Base):
    def test_whole(self):
        o = oid()
        k = self.sim.confirm(o)[1]['paymentKey']
        status, p, _ = self.sim.cancel(k)
        self.assertEqual((status, p['status']), (200, 'CANCELED'))
        self.assertEqual(p['balanceAmount'], 0)
        self.assertEqual(p['cancels'][0]['cancelAmount'], 5000)
        self.assertEqual(p['cancels'][0]['cancelReason'], 'changed mind')
        self.refused(self.sim.cancel(k), 400, 'ALREADY_CANCELED_PAYMENT')

    def test_partial_and_over(self):
        o = oid()
        k = self.sim.confirm(o)[1]['paymentKey']
        p = self.sim.cancel(k, 2000)[1]
        self.assertEqual(p['status'], 'PARTIAL_CANCELED')
        self.assertEqual(p['cancels'][0]['refundableAmount'], 3000)
        self.refused(self.sim.cancel(k, 3001), 403, 'NOT_CANCELABLE_AMOUNT')
        p = self.sim.cancel(k, 3000)[1]
        self.assertEqual(p['status'], 'CANCELED')
        self.assertEqual([c['cancelAmount'] for c in p['cancels']],
                         [2000, 3000])
        ledger = self.sim.ledger(o)
        self.assertEqual(sum(c['amount'] for c in ledger['cancels']), 5000)

    def test_not_approved(self):
        o = oid()
        self.sim.confirm(o, 'tok_decline')
        k = self.sim.query(o)[1]['paymentKey']
        self.refused(self.sim.cancel(k), 403, 'NOT_CANCELABLE_PAYMENT')
        self.refused(self.sim.cancel('nothing'), 404, 'NOT_FOUND_PAYMENT')

    def test_bad_bodies(self):
        k = self.sim.confirm(oid())[1]['paymentKey']
        for body in ({}, {'cancelReason': ''}, {'cancelReason': 'x' * 201},
                     {'cancelReason': 'x', 'cancelAmount': 0},
                     {'cancelReason': 'x', 'cancelAmount': '5'}):
            self.refused(self.sim.call(
                'POST', '/v1/payments/%s/cancel' % k, body), 400,
                'INVALID_REQUEST')

    def test_race(self):
        o = oid()
        k = self.sim.confirm(o, amount=1000)[1]['paymentKey']
        got = []
        threads = [threading.Thread(
            target=lambda: got.append(self.sim.cancel(k, 400)[0]))
            for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        self.assertEqual(sorted(got), [200, 200, 403, 403])


class Idempotency(Base):
    def test_replay_is_the_same_bytes(self):
        o, key = oid(), oid()
        a = self.sim.confirm(o, key=key)
        b = self.sim.confirm(o, key=key)
        self.assertEqual((a[0], a[2]), (b[0], b[2]))
        self.assertEqual(len(self.sim.ledger(o)['approvals']), 1)

    def test_body_is_ignored(self):
        o, other, key = oid(), oid(), oid()
        a = self.sim.confirm(o, key=key)
        b = self.sim.confirm(other, amount=7777, key=key)
        self.assertEqual(a[2], b[2])
        self.assertEqual(self.sim.ledger(other)['approvals'], [])

    def test_scope_has_the_address(self):
        key = oid()
        k = self.sim.confirm(oid(), key=key)[1]['paymentKey']
        self.assertEqual(self.sim.cancel(k, key=key)[1]['status'],
                         'CANCELED')

    def test_replays_declines_and_errors(self):
        o, key = oid(), oid()
        a = self.sim.confirm(o, 'tok_decline', key=key)
        self.assertEqual(a[2], self.sim.confirm(o, 'tok_decline',
                                                key=key)[2])
        o, key = oid(), oid()
        a = self.sim.confirm(o, 'tok_error_500_charged', key=key)
        self.assertEqual(a[0], 500)
        self.assertEqual(self.sim.confirm(o, 'tok_error_500_charged',
                                          key=key)[0], 500)
        self.assertEqual(self.sim.query(o)[1]['status'], 'DONE')

    def test_cancel_replay(self):
        o, key = oid(), oid()
        k = self.sim.confirm(o)[1]['paymentKey']
        a = self.sim.cancel(k, 1000, key=key)
        b = self.sim.cancel(k, 1000, key=key)
        self.assertEqual(a[2], b[2])
        self.assertEqual(len(self.sim.ledger(o)['cancels']), 1)

    def test_in_flight(self):
        o, key = oid(), oid()
        first = []
        t = threading.Thread(target=lambda: first.append(
            self.sim.confirm(o, 'tok_slow_3s', key=key)))
        t.start()
        deadline = time.monotonic() + 2.5
        status = None
        while time.monotonic() < deadline and status != 409:
            # before the first one is there, this one would be the first
            if status is None:
                time.sleep(0.3)
            status, body, _ = self.sim.confirm(o, 'tok_slow_3s', key=key,
                                               timeout=10)
        t.join()
        self.assertEqual(status, 409)
        self.assertEqual(body['code'], 'IDEMPOTENT_REQUEST_PROCESSING')
        self.assertEqual(first[0][0], 200)

    def test_key_length(self):
        self.assertEqual(self.sim.confirm(oid(), key='k' * 300)[0], 200)
        self.refused(self.sim.confirm(oid(), key='k' * 301), 400,
                     'INVALID_IDEMPOTENCY_KEY')


class Tokens(Base):
    def test_timeout_charged(self):
        o, key = oid(), oid()
        self.lost(lambda: self.sim.confirm(o, 'tok_timeout_charged', key=key,
                                           timeout=0.5))
        self.assertEqual(self.sim.query(o)[1]['status'], 'DONE')
        status, p, _ = self.sim.confirm(o, 'tok_timeout_charged', key=key)
        self.assertEqual((status, p['status']), (200, 'DONE'))
        self.assertEqual(len(self.sim.ledger(o)['approvals']), 1)

    def test_timeout_not_charged(self):
        o = oid()
        self.lost(lambda: self.sim.confirm(o, 'tok_timeout_not_charged',
                                           key=o, timeout=0.3))
        seen = set()
        deadline = time.monotonic() + 5
        while 'EXPIRED' not in seen and time.monotonic() < deadline:
            seen.add(self.sim.query(o)[1]['status'])
            time.sleep(0.02)
        self.assertEqual(seen, {'IN_PROGRESS', 'EXPIRED'})
        self.refused(self.sim.confirm(o, 'tok_timeout_not_charged', key=o),
                     404, 'NOT_FOUND_PAYMENT_SESSION')
        self.assertEqual(self.sim.ledger(o)['approvals'], [])

    def test_silence_ends_with_the_hold(self):
        sim = Sim(hold='0.3')
        start = time.monotonic()
        self.lost(lambda: sim.confirm(oid(), 'tok_timeout_charged'))
        self.assertGreater(time.monotonic() - start, 0.25)
        self.assertEqual(sim.close(), 0)

    def test_slow_ones_block_nobody(self):
        def hang(token):
            try:
                self.sim.confirm(oid(), token, timeout=4)
            except (OSError, http.client.HTTPException):
                pass

        threads = [threading.Thread(target=hang, args=(t,))
                   for t in ('tok_slow_3s', 'tok_timeout_charged',
                             'tok_timeout_not_charged') * 10]
        for t in threads:
            t.start()
        slowest = 0
        for _ in range(20):
            start = time.monotonic()
            self.assertEqual(self.sim.confirm(oid())[0], 200)
            slowest = max(slowest, time.monotonic() - start)
        for t in threads:
            t.join()
        self.assertLess(slowest, 1.5)

    def test_slow_is_slow(self):
        start = time.monotonic()
        self.assertEqual(self.sim.confirm(oid(), 'tok_slow_3s')[0], 200)
        self.assertGreaterEqual(time.monotonic() - start, 2.9)


class Faults(Base):
    def charged(self, o):
        return len(self.sim.ledger(o)['approvals'])

    def test_drop(self):
        o = oid()
        self.sim.fault(match='confirm', action='drop_before', orderId=o)
        self.lost(lambda: self.sim.confirm(o, key=o))
        self.assertEqual(self.charged(o), 0)
        self.sim.fault(match='confirm', action='drop_after', orderId=o)
        self.lost(lambda: self.sim.confirm(o, key=o))
        self.assertEqual(self.charged(o), 1)
        self.assertEqual(self.sim.confirm(o, key=o)[0], 200)

    def test_errors(self):
        o = oid()
        self.sim.fault(match='confirm', action='error', status=400,
                       code='PROVIDER_ERROR')
        self.refused(self.sim.confirm(o), 400, 'PROVIDER_ERROR')
        self.assertEqual(self.charged(o), 0)
        self.sim.fault(match='confirm', action='error_after')
        self.refused(self.sim.confirm(o), 500,
                     'FAILED_INTERNAL_SYSTEM_PROCESSING')
        self.assertEqual(self.charged(o), 1)

    def test_wrong_amount(self):
        o = oid()
        self.sim.fault(match='confirm', action='wrong_amount')
        self.assertEqual(self.sim.confirm(o)[1]['totalAmount'], 5001)
        self.assertEqual(self.sim.query(o)[1]['totalAmount'], 5000)
        self.sim.fault(match='get', action='wrong_amount')
        self.assertEqual(self.sim.query(o)[1]['totalAmount'], 5001)

    def test_reset_mid_body(self):
        o = oid()
        self.sim.fault(match='confirm', action='reset_body')
        self.lost(lambda: self.sim.confirm(o))
        self.assertEqual(self.charged(o), 1)

    def test_late_404(self):
        o = oid()
        self.sim.confirm(o)
        self.sim.fault(match='get', action='error', status=404, count=2,
                       code='NOT_FOUND_PAYMENT')
        got = [self.sim.query(o)[0] for _ in range(3)]
        self.assertEqual(got, [404, 404, 200])

    def test_skip_count_delay_and_list(self):
        self.sim.fault(match='get', action='delay', ms=300, skip=1, count=2)
        rules = self.sim.call('GET', '/_sim/faults', auth=None)[1]['faults']
        self.assertEqual(rules[0]['count'], 2)
        took = []
        for _ in range(4):
            start = time.monotonic()
            self.sim.query(oid())
            took.append(time.monotonic() - start >= 0.3)
        self.assertEqual(took, [False, True, True, False])

    def test_bad_rules(self):
        for rule in ({}, {'action': 'explode'}, {'action': 'drop_after',
                     'match': 'all'}, {'action': 'delay', 'ms': -1},
                     {'action': 'delay', 'extra': 1}):
            self.refused(self.sim.call('POST', '/_sim/faults', rule,
                                       auth=None), 400, 'INVALID_RULE')


class Life(unittest.TestCase):
    def test_kill_9_keeps_every_answer(self):
        sim = Sim()
        answered, stop = [], threading.Event()
        lock = threading.Lock()

        def work():
            while not stop.is_set():
                o = oid()
                try:
                    status, p, _ = sim.confirm(o, key=o)
                except (OSError, http.client.HTTPException, ValueError):
                    continue
                with lock:
                    answered.append((o, p['paymentKey']))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads:
            t.start()

        for want in (50, 100, 150):
            deadline = time.monotonic() + 30
            while len(answered) < want:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            sim.kill()
            sim.start()

        stop.set()
        for t in threads:
            t.join()

        approvals = {a['orderId']: a['paymentKey']
                     for a in sim.ledger()['approvals']}
        for o, k in answered:
            self.assertEqual(approvals.get(o), k)
            self.assertEqual(sim.confirm(o, key=o)[1]['paymentKey'], k)
        self.assertEqual(sim.close(), 0)

    def test_term_ends_held_connections(self):
        sim = Sim(hold='600')

        def hang():
            try:
                sim.confirm(oid(), 'tok_timeout_charged', timeout=30)
            except (OSError, http.client.HTTPException):
                pass

        t = threading.Thread(target=hang)
        t.start()
        deadline = time.monotonic() + 10
        while not sim.ledger()['approvals']:
            self.assertLess(time.monotonic(), deadline)
        idle = socket.create_connection(('127.0.0.1', sim.port))
        start = time.monotonic()
        self.assertEqual(sim.close(), 0)
        self.assertLess(time.monotonic() - start, 3)
        idle.close()
        t.join()

    def refused(self, args, word):
        p = subprocess.run([PGSIM] + args, capture_output=True, timeout=10)
        self.assertNotEqual(p.returncode, 0)
        self.assertIn(word, p.stderr.decode())

    def test_bad_arguments_are_named(self):
        with tempfile.TemporaryDirectory() as d:
            secret, db = d + '/secret', d + '/db'
            pathlib.Path(secret).write_text(SECRET)
            pathlib.Path(d, 'empty').touch()
            port = free_port()
            at = ['--listen', '127.0.0.1:%d' % port]
            self.refused([], '--listen')
            self.refused(at, '--db')
            self.refused(at + ['--db', db], '--secret-file')
            self.refused(at + ['--db', db, '--secret-file', d + '/none'],
                         d + '/none')
            self.refused(at + ['--db', db, '--secret-file', d + '/empty'],
                         'empty')
            good = ['--db', db, '--secret-file', secret]
            for listen in ('8090', 'localhost:1', '127.0.0.1:0',
                           '127.0.0.1:99999', '127.0.0.1:80x'):
                self.refused(['--listen', listen] + good, '--listen')
            self.refused(at + good + ['--hold', 'long'], '--hold')
            self.refused(at + good + ['--session-ttl', '-1'],
                         '--session-ttl')
            self.refused(at + good + ['extra'], 'extra')
            self.refused(at + good + ['--bogus'], 'bogus')
            self.refused(at + ['--secret-file', secret, '--db', d + '/no/db'],
                         '--db')
            with socket.create_server(('127.0.0.1', port)):
                self.refused(at + good, 'cannot listen')


if __name__ == '__main__':
    unittest.main()
