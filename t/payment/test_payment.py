#!/usr/bin/env python3
"""The payment service over HTTPS, against a real database and pgsim.

  tools/with-db.sh t/payment/test_payment.py [-v] [TestClass.test_name]
"""

import concurrent.futures
import json
import os
import signal
import threading
import time
import unittest
import uuid

from rig import Rig, wait

rig = None


def setUpModule():
    global rig
    rig = Rig()


def tearDownModule():
    rig.close()


def new():
    return str(uuid.uuid4())


class Base(unittest.TestCase):
    def setUp(self):
        self.user = new()
        rig.provider('DELETE', '/_sim/faults')

    def problem(self, answer, status, code):
        self.assertEqual((answer[0], answer[1].get('code')), (status, code),
                         answer[1])
        self.assertEqual(answer[2]['Content-Type'],
                         'application/problem+json')
        return answer[1]

    def becomes(self, pid, status, seconds=25):
        return wait(lambda: (lambda p: p if p['status'] == status else None)(
            rig.get(self.user, pid)), seconds)

    def paid(self, total=15000):
        o = rig.order(self.user, total)
        status, p, _, _ = rig.pay(self.user, o)
        self.assertEqual((status, p['status']), (201, 'SUCCESS'))
        return o, p

    def net(self, o):
        ledger = rig.ledger(o)
        return (sum(a['amount'] for a in ledger['approvals'])
                - sum(c['amount'] for c in ledger['cancels']))


class Paying(Base):
    def test_success(self):
        o = rig.order(self.user)
        status, p, h, _ = rig.pay(self.user, o)
        self.assertEqual(status, 201)
        self.assertEqual(h['Location'], '/api/payments/' + p['id'])
        self.assertEqual(h['ETag'], '"3"')
        for name, want in (
                ('orderId', o), ('userId', self.user), ('amount', 15000),
                ('currency', 'KRW'), ('status', 'SUCCESS'),
                ('outcome', None), ('paymentMethod', 'CREDIT_CARD'),
                ('provider', 'pgsim'), ('failureCode', None),
                ('refundedAmount', 0), ('version', 3)):
            self.assertEqual(p[name], want, name)
        self.assertEqual(rig.get(self.user, p['id']), p)
        self.assertEqual(rig.events(p['id']), [
            'payment.created', 'payment.processing', 'payment.succeeded'])
        a = rig.ledger(o)['approvals']
        self.assertEqual([(x['amount'], x['paymentKey']) for x in a],
                         [(15000, p['transactionId'])])

    def test_event_data(self):
        o, p = self.paid()
        rows = rig.sql("SELECT version, HEX(pkey), actor, data FROM events"
                       " WHERE agg_id = UNHEX('%s') ORDER BY version"
                       % p['id'].replace('-', ''))
        last = json.loads(rows[-1][3])
        self.assertEqual(rows[-1][1].lower(), o.replace('-', ''))
        self.assertEqual(rows[-1][2], 'user:' + self.user)
        self.assertEqual(last['paymentId'], p['id'])
        self.assertEqual((last['previousStatus'], last['status']),
                         ('PROCESSING', 'SUCCESS'))
        self.assertEqual((last['amount'], last['currency']), (15000, 'KRW'))
        first = json.loads(rows[0][3])
        self.assertEqual((first['previousStatus'], first['status']),
                         (None, 'PENDING'))

    def test_replay_is_the_same_bytes(self):
        o, key = rig.order(self.user), new()
        a = rig.pay(self.user, o, key=key)
        b = rig.pay(self.user, o, key=key)
        self.assertEqual((a[0], a[3]), (b[0], b[3]))
        self.assertEqual(b[2]['Idempotent-Replayed'], 'true')
        self.problem(rig.pay(self.user, o, 'tok_decline', key), 422,
                     'idempotency_key_reused')
        self.assertEqual(len(rig.ledger(o)['approvals']), 1)

    def test_declines_then_pays(self):
        o, key = rig.order(self.user), new()
        a = rig.pay(self.user, o, 'tok_insufficient_funds', key)
        d = self.problem(a, 402, 'payment_declined')
        self.assertEqual((d['failureCode'], d['retryable']),
                         ('insufficient_funds', True))
        p = rig.get(self.user, d['paymentId'])
        self.assertEqual((p['status'], p['failureCode']),
                         ('FAILED', 'insufficient_funds'))
        self.assertEqual(rig.events(p['id'])[-1], 'payment.failed')
        again = rig.pay(self.user, o, 'tok_insufficient_funds', key)
        self.assertEqual((a[0], a[3]), (again[0], again[3]))
        d = self.problem(rig.pay(self.user, o, 'tok_decline'), 402,
                         'payment_declined')
        self.assertEqual((d['failureCode'], d['retryable']),
                         ('card_declined', True))
        self.assertEqual(rig.pay(self.user, o)[0], 201)
        self.assertEqual(len(rig.attempts(o)), 3)
        self.assertEqual(self.net(o), 15000)

    def test_paid_once(self):
        o, p = self.paid()
        d = self.problem(rig.pay(self.user, o), 409, 'order_not_payable')
        self.assertEqual(d['paymentId'], p['id'])

    def test_in_progress(self):
        o = rig.order(self.user)
        with concurrent.futures.ThreadPoolExecutor() as pool:
            first = pool.submit(rig.pay, self.user, o, 'tok_timeout_charged')
            wait(lambda: rig.attempts(o))
            d = self.problem(rig.pay(self.user, o), 409,
                             'payment_in_progress')
            status, p, _, _ = first.result()
        self.assertEqual((status, p['outcome']), (202, 'unknown'))
        self.assertEqual(d['paymentId'], p['id'])
        self.becomes(p['id'], 'SUCCESS')

    def test_one_of_many_wins(self):
        o = rig.order(self.user)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            got = list(pool.map(lambda _: rig.pay(self.user, o), range(16)))
        self.assertEqual(sum(g[0] == 201 for g in got), 1)
        self.assertEqual({g[0] for g in got}, {201, 409})
        self.assertEqual(self.net(o), 15000)

    def test_twins_with_one_key(self):
        o, key = rig.order(self.user), new()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            got = list(pool.map(lambda _: rig.pay(self.user, o, key=key),
                                range(8)))
        self.assertLessEqual({g[0] for g in got}, {201, 409})
        for g in got:
            if g[0] == 409:
                self.problem(g, 409, 'idempotency_in_progress')
        self.assertEqual(rig.pay(self.user, o, key=key)[0], 201)
        self.assertEqual(len(rig.attempts(o)), 1)

    def test_reads_go_on_while_the_provider_is_slow(self):
        o, p = self.paid()
        orders = [rig.order(self.user) for _ in range(12)]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            slow = [pool.submit(rig.pay, self.user, x, 'tok_timeout_charged')
                    for x in orders]
            wait(lambda: rig.attempts(orders[0]))
            start = time.monotonic()
            for _ in range(10):
                self.assertEqual(rig.get(self.user, p['id'])['id'], p['id'])
            took = time.monotonic() - start
            pids = [s.result()[1]['id'] for s in slow]
        self.assertLess(took, 1.0)
        for pid in pids:
            self.becomes(pid, 'SUCCESS')


class Refused(Base):
    def test_key_is_required(self):
        self.problem(rig.call('POST', '/api/payments', {
            'orderId': new(), 'paymentMethod': 'PAYPAL',
            'paymentToken': 'tok_ok'}, self.user), 400,
            'idempotency_key_missing')

    def test_token_is_required(self):
        self.problem(rig.call('POST', '/api/payments', {}), 401,
                     'unauthenticated')

    def test_bad_bodies(self):
        o = rig.order(self.user)
        good = {'orderId': o, 'paymentMethod': 'PAYPAL',
                'paymentToken': 'tok_ok'}
        for change, pointer in (
                ({'orderId': 'x'}, '/orderId'),
                ({'orderId': None}, '/orderId'),
                ({'paymentMethod': 'CASH'}, '/paymentMethod'),
                ({'paymentToken': ''}, '/paymentToken'),
                ({'paymentToken': 'a b'}, '/paymentToken'),
                ({'paymentToken': '../x'}, '/paymentToken'),
                ({'paymentToken': 'x' * 201}, '/paymentToken'),
                ({'paymentToken': '4111111111111111'}, '/paymentToken'),
                ({'paymentToken': '4111-1111-1111-1111'}, '/paymentToken'),
                ({'paymentToken': 'card4111111111111111'}, '/paymentToken'),
                ({'provider': 'stripe'}, '/provider'),
                ({'provider': '4111111111111111'}, '/provider'),
                ({'amount': '15000'}, '/amount'),
                ({'amount': 14999}, '/amount'),
                ({'cardNumber': '1'}, '/cardNumber')):
            d = self.problem(rig.call('POST', '/api/payments',
                                      {**good, **change}, self.user, new()),
                             400, 'validation_failed')
            self.assertEqual(d['errors'][0]['pointer'], pointer, change)
        self.assertEqual(rig.attempts(o), [])

    def test_toss_keys_with_a_time_are_no_cards(self):
        # 14 digits beginning with 20, some of which pass Luhn
        o = rig.order(self.user)
        for n in range(10):
            answer = rig.pay(self.user, o, 'tviva2024092901222%dabc' % n)
            self.problem(answer, 402, 'payment_declined')

    def test_amount_may_be_repeated(self):
        self.assertEqual(rig.pay(self.user, rig.order(self.user),
                                 amount=15000, provider='pgsim')[0], 201)

    def test_foreign_and_unknown_orders(self):
        o = rig.order(new())
        self.problem(rig.pay(self.user, o), 404, 'not_found')
        self.problem(rig.pay(self.user, new()), 404, 'not_found')

    def test_not_payable(self):
        for data in ({'status': 'PAID'}, {'status': 'CANCELLED'},
                     {'status': 'COMPLETED'}, {'currency': 'USD'},
                     {'status': 'PENDING', 'pendingOperation': 'CANCEL'},
                     {'expiresAt': '2020-01-01T00:00:00.000Z'},
                     {'totalAmount': 0}):
            o = rig.order(self.user, **data) if 'totalAmount' not in data \
                else rig.order(self.user, 0)
            self.problem(rig.pay(self.user, o), 409, 'order_not_payable')
            self.assertEqual(rig.attempts(o), [])


class Asking(Base):
    def known(self, total=9000):
        o = new()
        rig.orders.known[o] = {
            'orderId': o, 'userId': self.user, 'total': total,
            'currency': 'KRW', 'status': 'CREATED', 'version': 1,
            'expiresAt': '2099-01-01T00:00:00.000Z'}
        return o

    def test_the_order_service_is_asked_once(self):
        o = self.known()
        status, p, _, _ = rig.pay(self.user, o)
        self.assertEqual((status, p['amount']), (201, 9000))
        self.assertEqual(rig.orders.asked.count(o), 1)
        r = rig.deliver(rig.event(o, 'created', 1, self.user, 9000))[1]
        self.assertEqual(r['results'][0]['outcome'], 'applied')

    def test_bad_answers_are_not_believed(self):
        for change in ({'orderId': new()}, {'total': -1}, {'total': '9'},
                       {'version': 0}, {'userId': 'x'}, {'status': ''}):
            o = self.known()
            rig.orders.known[o].update(change)
            a = rig.pay(self.user, o)
            self.problem(a, 409, 'order_not_yet_known')
            self.assertEqual(a[2]['Retry-After'], '1')

    def test_somebody_elses(self):
        o = self.known()
        rig.orders.known[o]['userId'] = new()
        self.problem(rig.pay(self.user, o), 404, 'not_found')


class Unknown(Base):
    """Every one of these ends definite, with no human, charged once."""

    def unknown(self, token='tok_ok', **fault):
        o = rig.order(self.user)
        if fault:
            rig.fault(**fault)
        status, p, h, _ = rig.pay(self.user, o, token)
        self.assertEqual((status, p['status'], p['outcome']),
                         (202, 'PROCESSING', 'unknown'))
        self.assertEqual(h['Location'], '/api/payments/' + p['id'])
        return o, p['id']

    def success(self, o, pid):
        p = self.becomes(pid, 'SUCCESS')
        self.assertIsNone(p['outcome'])
        self.assertEqual(rig.events(pid), [
            'payment.created', 'payment.processing',
            'payment.outcome_unknown', 'payment.succeeded'])
        self.assertEqual(self.net(o), 15000)
        self.assertEqual(len(rig.ledger(o)['approvals']), 1)

    def test_timeout_charged(self):
        self.success(*self.unknown('tok_timeout_charged'))

    def test_error_500_charged(self):
        self.success(*self.unknown('tok_error_500_charged'))

    def test_timeout_not_charged(self):
        o, pid = self.unknown('tok_timeout_not_charged')
        p = self.becomes(pid, 'FAILED')
        self.assertEqual(p['failureCode'], 'session_expired')
        self.assertEqual(self.net(o), 0)
        self.assertEqual(rig.pay(self.user, o)[0], 201)

    def test_lost_before_the_provider(self):
        self.success(*self.unknown(match='confirm', action='drop_before'))

    def test_lost_after_the_provider(self):
        self.success(*self.unknown(match='confirm', action='drop_after'))

    def test_broken_body(self):
        self.success(*self.unknown(match='confirm', action='reset_body'))

    def test_transient_code_with_status_400(self):
        self.success(*self.unknown(match='confirm', action='error',
                                   status=400, code='PROVIDER_ERROR'))

    def test_wrong_amount_is_not_believed(self):
        self.success(*self.unknown(match='confirm', action='wrong_amount'))

    def test_late_404(self):
        rig.fault(match='get', action='error', status=404, count=2,
                  code='NOT_FOUND_PAYMENT')
        self.success(*self.unknown('tok_timeout_charged'))

    def test_provider_down(self):
        o = rig.order(self.user)
        rig.stop_pgsim()
        try:
            status, p, _, _ = rig.pay(self.user, o)
        finally:
            rig.start_pgsim()
        self.assertEqual((status, p['outcome']), (202, 'unknown'))
        self.success(o, p['id'])

    def test_worker_killed_while_the_provider_thinks(self):
        o, key = rig.order(self.user), new()
        rig.fault(match='confirm', action='delay', ms=800)
        t = threading.Thread(target=self.swallow, args=(o, key))
        t.start()
        wait(lambda: rig.attempts(o))
        for pid in rig.worker():
            os.kill(pid, signal.SIGKILL)
        t.join()
        pid = rig.sql("SELECT LOWER(HEX(id)) FROM payments WHERE order_id ="
                      " UNHEX('%s')" % o.replace('-', ''))[0][0]
        pid = str(uuid.UUID(pid))
        self.success(o, pid)
        # the key's lease of 30 s is over in the test: the answer is found
        rig.sql('UPDATE idempotency SET lease_until = 0 WHERE state = 0')
        a = wait(lambda: (lambda x: x if x[0] != 409 else None)(
            rig.pay(self.user, o, key=key)))
        self.assertEqual((a[0], a[1]['id']), (201, pid))
        self.assertEqual(self.net(o), 15000)

    def swallow(self, o, key):
        try:
            rig.pay(self.user, o, key=key)
        except Exception:
            pass


class Refunds(Base):
    def ask(self, o, p, version=2, kind='refund_requested', **more):
        status, r, _, _ = rig.deliver(rig.event(
            o, kind, version, self.user, paymentId=p['id'],
            reason='changed mind', status='PAID', **more))
        self.assertEqual(status, 200)
        return r['results'][0]

    def test_requested_by_the_order(self):
        o, p = self.paid()
        self.assertEqual(self.ask(o, p, amount=15000)['outcome'], 'applied')
        got = self.becomes(p['id'], 'REFUNDED')
        self.assertEqual(got['refundedAmount'], 15000)
        self.assertEqual(got['refundReason'], 'changed mind')
        self.assertIsNotNone(got['refundedAt'])
        self.assertEqual(rig.events(p['id'])[3:], [
            'refund.created', 'refund.succeeded', 'payment.refunded'])
        self.assertEqual(self.net(o), 0)
        self.assertEqual(self.ask(o, p, amount=15000)['outcome'],
                         'duplicate')

    def test_parts(self):
        o, p = self.paid(1000)
        for version, amount in ((2, 400), (3, 400), (4, 400), (5, 400)):
            self.ask(o, p, version, amount=amount, totalAmount=1000)
        self.becomes(p['id'], 'REFUNDED')
        self.assertEqual(sorted(c['amount']
                                for c in rig.ledger(o)['cancels']),
                         [200, 400, 400])

    def test_unknown_payment_is_rejected(self):
        o, p = self.paid()
        r = self.ask(o, {'id': new()})
        self.assertEqual((r['outcome'], r['reason']),
                         ('rejected', 'unknown_payment'))

    def test_provider_silent_after_the_refund(self):
        for action in ('drop_after', 'error_after', 'hold_after',
                       'drop_before', 'error'):
            o, p = self.paid()
            rig.fault(match='cancel', action=action)
            self.ask(o, p)
            self.becomes(p['id'], 'REFUNDED', 40)
            self.assertEqual(self.net(o), 0)
            self.assertEqual(len(rig.ledger(o)['cancels']), 1, action)

    def test_refused_for_good(self):
        o, p = self.paid()
        rig.fault(match='cancel', action='error', status=403,
                  code='NOT_CANCELABLE_PAYMENT')
        self.ask(o, p)
        got = wait(lambda: 'refund.failed' in rig.events(p['id'])
                   and rig.get(self.user, p['id']))
        self.assertEqual((got['status'], got['refundedAmount']),
                         ('SUCCESS', 0))
        # what was reserved is free again
        self.ask(o, p, 3)
        self.becomes(p['id'], 'REFUNDED')

    def test_cancel_of_a_paid_order(self):
        o, p = self.paid()
        self.ask(o, p, kind='cancel_requested', pendingOperation='CANCEL')
        self.becomes(p['id'], 'REFUNDED')
        self.ask(o, p, 3, kind='refund_requested')
        self.assertEqual(self.net(o), 0)

    def test_cancel_while_the_outcome_is_open(self):
        o = rig.order(self.user)
        p = rig.pay(self.user, o, 'tok_timeout_charged')[1]
        self.ask(o, p, kind='cancel_requested', pendingOperation='CANCEL')
        got = self.becomes(p['id'], 'REFUNDED')
        self.assertEqual(got['cancellationReason'], 'changed mind')
        self.assertEqual(self.net(o), 0)
        self.assertNotIn('payment.cancelled', rig.events(p['id']))

    def test_cancel_and_never_charged(self):
        o = rig.order(self.user)
        p = rig.pay(self.user, o, 'tok_timeout_not_charged')[1]
        self.ask(o, p, kind='cancel_requested', pendingOperation='CANCEL')
        got = self.becomes(p['id'], 'CANCELLED')
        self.assertIsNotNone(got['cancelledAt'])
        self.assertEqual(rig.events(p['id'])[-1], 'payment.cancelled')
        self.assertEqual(self.net(o), 0)


class Feed(Base):
    def test_peers(self):
        e = rig.event(new(), 'created', 1, self.user)
        self.assertEqual(rig.deliver(e, cert='stranger')[0], 404)
        self.assertEqual(rig.deliver(e, cert=None)[0], 404)

    def test_order_of_versions(self):
        o = new()
        outcomes = [x['outcome'] for x in rig.deliver(
            rig.event(o, 'updated', 2, self.user),
            rig.event(o, 'created', 1, self.user),
            rig.event(o, 'created', 1, self.user),
            rig.event(o, 'updated', 2, self.user, 8000))[1]['results']]
        self.assertEqual(outcomes, ['gap', 'applied', 'duplicate',
                                    'applied'])
        self.assertEqual(rig.pay(self.user, o)[1]['amount'], 8000)

    def test_bad_data_is_rejected_and_others_go_on(self):
        bad = rig.event(new(), 'created', 1, self.user)
        del bad['data']['totalAmount']
        good = rig.event(new(), 'created', 1, self.user)
        r = rig.deliver(bad, good)[1]['results']
        self.assertEqual([x['outcome'] for x in r], ['rejected', 'applied'])

    def test_what_is_not_ours(self):
        e = rig.event(new(), 'created', 1, self.user)
        e.update(aggregate='user', type='user.created', data={})
        self.assertEqual(rig.deliver(e)[1]['results'][0]['outcome'],
                         'applied')


class Reading(Base):
    def test_owner_admin_stranger(self):
        o, p = self.paid()
        for path in ('/api/payments/' + p['id'],
                     '/api/payments/order/' + o):
            self.assertEqual(rig.call('GET', path, user=self.user)[1], p)
            self.assertEqual(rig.call('GET', path, user=new(),
                                      roles=['ADMIN'])[1], p)
            self.problem(rig.call('GET', path, user=new()), 404, 'not_found')
            self.problem(rig.call('GET', path), 401, 'unauthenticated')
        for path in ('/api/payments/nonsense', '/api/payments/order/x',
                     '/api/payments/' + new(), '/api/payments/order/' + o
                     + '/more'):
            self.problem(rig.call('GET', path, user=self.user), 404,
                         'not_found')

    def test_newest_of_an_order(self):
        o = rig.order(self.user)
        rig.pay(self.user, o, 'tok_decline')
        p = rig.pay(self.user, o)[1]
        self.assertEqual(rig.call('GET', '/api/payments/order/' + o,
                                  user=self.user)[1]['id'], p['id'])

    def test_list(self):
        ids = [self.paid()[1]['id'] for _ in range(5)]
        rig.pay(self.user, rig.order(self.user), 'tok_decline')
        got, after = [], ''
        while True:
            page = rig.call('GET', '/api/payments?limit=2&status=SUCCESS'
                            + after, user=self.user)[1]
            got += [p['id'] for p in page['content']]
            if not page['hasMore']:
                break
            after = '&after=' + page['next']
        self.assertEqual(got, ids[::-1])
        self.assertIsNone(page['next'])
        failed = rig.call('GET', '/api/payments/status/FAILED',
                          user=self.user)[1]
        self.assertEqual([p['status'] for p in failed['content']],
                         ['FAILED'])
        everybody = rig.call('GET', '/api/payments?userId=' + self.user,
                             user=new(), roles=['ADMIN'])[1]
        self.assertEqual(len(everybody['content']), 6)
        self.assertEqual(rig.call('GET', '/api/payments', user=new())
                         [1]['content'], [])

    def test_list_refuses(self):
        for query, status, code in (
                ('?limit=0', 400, 'validation_failed'),
                ('?limit=101', 400, 'validation_failed'),
                ('?status=DONE', 400, 'validation_failed'),
                ('?after=nonsense', 400, 'validation_failed'),
                ('?userId=' + new(), 403, 'forbidden')):
            self.problem(rig.call('GET', '/api/payments' + query,
                                  user=self.user), status, code)
        self.problem(rig.call('GET', '/api/payments/status/DONE',
                              user=self.user), 400, 'validation_failed')
        a = rig.call('DELETE', '/api/payments', user=self.user)
        self.problem(a, 405, 'method_not_allowed')


class ZInvariants(Base):
    """After all of the above (unittest runs classes by name)."""

    def test_books(self):
        wait(lambda: rig.sql("SELECT COUNT(*) FROM payment_attempts WHERE"
                             " state IN ('SENT', 'UNKNOWN')")[0][0] == '0',
             40)
        wait(lambda: rig.sql("SELECT COUNT(*) FROM refunds WHERE state IN"
                             " ('INIT', 'SENT', 'UNKNOWN')")[0][0] == '0',
             40)
        approved = {str(uuid.UUID(a)): (k, int(n)) for a, k, n in rig.sql(
            "SELECT HEX(t.id), t.provider_id, p.amount FROM payment_attempts"
            " t JOIN payments p ON p.id = t.payment_id WHERE t.state ="
            " 'APPROVED'")}
        ledger = rig.provider('GET', '/_sim/ledger')
        theirs = {a['orderId']: (a['paymentKey'], a['amount'])
                  for a in ledger['approvals']}
        self.assertGreater(len(approved), 10)
        self.assertEqual(approved, theirs)
        ours = int(rig.sql('SELECT SUM(refunded) FROM payments')[0][0])
        self.assertEqual(ours, sum(c['amount'] for c in ledger['cancels']))
        self.assertEqual(rig.sql(
            'SELECT COUNT(*) FROM payments p WHERE version <> (SELECT'
            ' COUNT(*) FROM events WHERE agg_id = p.id)')[0][0], '0')
        self.assertEqual(rig.sql(
            "SELECT COUNT(*) FROM payment_attempts WHERE token IS NOT NULL"
            " AND state IN ('APPROVED', 'DECLINED')")[0][0], '0')


if __name__ == '__main__':
    unittest.main()
