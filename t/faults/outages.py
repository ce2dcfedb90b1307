#!/usr/bin/python3
"""What users see while an engine is down, and after it is back.

    t/faults/outages.py [--seconds 20]      how long each outage lasts

Needs a running stack.  Kafka down: orders and payments are accepted, and all
is delivered after.  Consul down: nobody notices, restarts of services
included.  MariaDB down: 503 problem+json at once, recovery by itself.
Prints `ok` and `not ok` lines.
"""

import argparse
import json
import subprocess
import time
import urllib.request
import uuid

from stack import ROOT, Client, check, finish, settings, shell, wait


def ctl(*args):
    shell('ctl ' + ' '.join(args))


def buy(c, products):
    """An order, paid; (status of the payment, order id)."""

    r = c.until((201,), 'POST', '/api/orders', {
        'shippingAddress': 'Seoul', 'items': [
            {'productId': products[0], 'quantity': 1}]}, str(uuid.uuid4()))
    order = json.loads(r[2])['id']
    r = c.until((201, 402, 409), 'POST', '/api/payments', {
        'orderId': order, 'paymentMethod': 'CREDIT_CARD',
        'paymentToken': 'tok_ok'}, str(uuid.uuid4()))

    return r[0], order


def status(c, order):
    return json.loads(c.until((200,), 'GET', '/api/orders/' + order)[2])[
        'status']


def kafka_down(c, products, seconds):
    ctl('stop', 'kafka')

    orders, codes = [], []
    end = time.monotonic() + seconds

    while time.monotonic() < end or len(orders) < 5:
        code, order = buy(c, products)
        codes.append(code)
        orders.append(order)

    check(set(codes) == {201}, 'kafka down: %d orders and payments accepted'
          % len(orders), codes)

    ctl('start', 'kafka')

    late = [o for o in orders
            if not wait('order %s to turn PAID' % o, 120,
                        lambda: status(c, o) == 'PAID')]
    check(not late, 'kafka back: every order turns PAID', late)


def consul_down(c, products, seconds):
    ctl('stop', 'consul')

    codes = []
    end = time.monotonic() + seconds / 2
    n = 0

    while time.monotonic() < end or n < 20:
        n += 1
        r = c.call('GET', '/api/products')
        codes.append(r and r[0])

    code, order = buy(c, products)
    check(set(codes) == {200}, 'consul down: %d reads answered' % n,
          [x for x in codes if x != 200][:10])
    check(code == 201, 'consul down: an order is paid', code)
    check(wait('PAID', 30, lambda: status(c, order) == 'PAID'),
          'consul down: events are delivered')

    # a service that comes back meanwhile is found by the last good list
    ctl('restart', 'order')
    check(wait('order service', 30,
               lambda: (c.call('GET', '/api/products') or (0,))[0] == 200),
          'consul down: a restarted service is used')

    ctl('start', 'consul')
    code, order = buy(c, products)
    check(code == 201, 'consul back: an order is paid', code)


def mariadb_down(c, products, status_port):
    body = {'shippingAddress': 'Seoul', 'items': [
        {'productId': products[0], 'quantity': 1}]}

    ctl('stop', 'mariadb')

    answers = [c.call('POST', '/api/orders', body, str(uuid.uuid4()),
                      timeout=10) for _ in range(5)]
    answers += [c.call('GET', '/api/orders', timeout=10) for _ in range(5)]
    good = [r for r in answers if r and r[0] == 503
            and r[1].get('Content-Type') == 'application/problem+json'
            and json.loads(r[2])['code'] in ('unavailable', 'overloaded')
            and r[1].get('Retry-After')]
    check(len(good) == len(answers), 'mariadb down: 503 as problem+json',
          [r and (r[0], r[2][:100]) for r in answers if r not in good])

    def not_ready():
        try:
            urllib.request.urlopen('http://127.0.0.1:%d/readyz' % status_port,
                                   timeout=3)
        except urllib.error.HTTPError as e:
            return e.code == 503

    check(wait('readyz', 15, not_ready), 'mariadb down: not ready')

    ctl('start', 'mariadb')

    code, order = buy(c, products)
    check(code == 201, 'mariadb back: an order is paid', code)
    check(wait('PAID', 60, lambda: status(c, order) == 'PAID'),
          'mariadb back: events are delivered')


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--seconds', type=float, default=20)
    a = p.parse_args()

    _, _, gateway, _, _ = settings()
    status_port = int(shell('echo "${ports[order-status]}"').stdout)

    c = Client(gateway)
    c.signup()
    r = c.until((200,), 'GET', '/api/products')
    products = [x['id'] for x in json.loads(r[2])['content']]

    kafka_down(c, products, a.seconds)
    consul_down(c, products, a.seconds)
    mariadb_down(c, products, status_port)

    v = subprocess.run([ROOT + '/opay', 'verify', '-w', '60'],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    check(v.returncode == 0, './opay verify is clean', v.stdout[-1500:])

    finish('outages')


if __name__ == '__main__':
    main()
