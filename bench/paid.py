"""From the payment's answer to PAID: orders one after the other, through the
gateway.  Prints two lines: as the client sees it (it asks every millisecond),
and by the servers' own clocks (the charge's updatedAt, and the time of
order.paid in the history)."""

import datetime
import http.client
import json
import sys
import time
import uuid


def main(port, token_file, orders, products):
    token = open(token_file).readline().strip()
    conn = http.client.HTTPConnection('127.0.0.1', port, timeout=15)
    first = []
    own = []

    def call(method, path, body=None, key=None):
        headers = {'Authorization': 'Bearer ' + token}
        if body is not None:
            body = json.dumps(body)
            headers['Content-Type'] = 'application/json'
            headers['Idempotency-Key'] = key
        conn.request(method, path, body, headers)
        r = conn.getresponse()
        return r.status, json.loads(r.read())

    def until(good, *args):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            status, body = call(*args)
            if good(status, body):
                return body
            time.sleep(0.001)
        raise SystemExit('bench: %s %s: still %s %s' % (
            args[0], args[1], status, body))

    def at(text):
        return datetime.datetime.fromisoformat(text.replace('Z', '+00:00'))

    for _ in range(orders):
        order = until(lambda s, b: s == 201, 'POST', '/api/orders', {
            'shippingAddress': '1 Sejong-daero, Jung-gu, Seoul',
            'items': [{'productId': p, 'quantity': 2} for p in products]},
            str(uuid.uuid4()))
        payment = until(lambda s, b: s == 201, 'POST', '/api/payments', {
            'orderId': order['id'], 'paymentMethod': 'CREDIT_CARD',
            'paymentToken': 'tok_ok'}, str(uuid.uuid4()))
        start = time.monotonic()

        if payment['status'] != 'SUCCESS':
            raise SystemExit('bench: the payment is %s' % payment)

        until(lambda s, b: s == 200 and b['status'] == 'PAID',
              'GET', '/api/orders/' + order['id'])
        first.append((time.monotonic() - start) * 1000)

        history = call('GET', '/api/orders/%s/history' % order['id'])[1]
        paid = [e['at'] for e in history['content']
                if e['type'] == 'order.paid']

        if len(paid) != 1:
            raise SystemExit('bench: history %s' % history)

        own.append((at(paid[0]) - at(payment['updatedAt']))
                   .total_seconds() * 1000)

    for name, values in (('client', first), ('clocks', own)):
        values.sort()
        print('%s rate=0 p50_ms=%.1f p99_ms=%.1f max_ms=%.1f n=%d errors=0 '
              'cpu_us=' % (name, values[len(values) // 2],
                           values[int(len(values) * 0.99)], values[-1],
                           len(values)))


main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:])
