#!/usr/bin/python3
"""Mixed load while every process in turn is killed with -9 and comes back.

    t/faults/chaos.py [--seconds 30] [--clients 6] [--skip NAME,...]

Needs a running stack; finds it by the settings of ./opay (OPAY_STATE,
OPAY_PORT_OFFSET).  Clients behave as the contract tells them to: they retry
what was refused or lost with the same Idempotency-Key until it is
acknowledged.  Afterwards, with everything up again:

  - every acknowledged order and payment is there, once per key, and a replay
    of its key is byte-equal to the first answer;
  - every order is settled as its payment token says;
  - every event of the stores is on its topic;
  - ./opay verify is clean.

Prints `ok` and `not ok` lines; the last one is "chaos: N passed, N failed".
"""

import argparse
import collections
import json
import os
import random
import signal
import subprocess
import threading
import time
import uuid

from stack import (ROOT, Client, check, finish, settings, stored, topics,
                   wait)

# what each token must lead to
TOKENS = {
    'tok_ok': 'PAID',
    'tok_decline': 'FAILED',
    'tok_insufficient_funds': 'FAILED',
    'tok_timeout_charged': 'PAID',
    'tok_timeout_not_charged': 'FAILED',
    'tok_error_500_charged': 'PAID',
}


class Load(threading.Thread):
    """Sign up, order, pay; keeps what was acknowledged."""

    def __init__(self, port, stop, products):
        super().__init__(daemon=True)
        self.client = Client(port)
        self.stop = stop
        self.products = products
        self.orders = {}            # key -> (body sent, first answer)
        self.payments = {}          # key -> (body sent, first answer, token)
        self.errors = []
        self.n = 0

    def run(self):
        while not self.stop.is_set():
            try:
                self.once()
            except AssertionError as e:
                self.errors.append(str(e))
                return

    def once(self):
        c = self.client

        if self.n % 20 == 0:
            self.flush()
            c.signup()
            self.owner = (c.email, c.password)

        self.n += 1
        body = {'shippingAddress': 'Seoul %d' % self.n, 'items': [
            {'productId': random.choice(self.products),
             'quantity': random.randint(1, 3)}]}
        key = str(uuid.uuid4())
        r = c.until((201,), 'POST', '/api/orders', body, key)
        order = json.loads(r[2])
        self.orders[key] = (self.owner, body, r)

        token = random.choices(list(TOKENS), (70, 10, 5, 2, 2, 5))[0]
        body = {'orderId': order['id'], 'paymentMethod': 'CREDIT_CARD',
                'paymentToken': token}
        key = str(uuid.uuid4())
        r = c.until((201, 202, 402), 'POST', '/api/payments', body, key)
        self.payments[key] = (self.owner, body, r, token)

    def flush(self):
        pass


class Nemesis(threading.Thread):
    def __init__(self, run, programs, stop, interval):
        super().__init__(daemon=True)
        self.run_dir = run
        self.programs = programs
        self.stop = stop
        self.interval = interval
        self.kills = collections.Counter()

    def run(self):
        order = list(self.programs)
        random.shuffle(order)

        while True:
            for name in order:
                if self.stop.wait(self.interval):
                    return
                self.kill(name)

    def kill(self, name):
        try:
            with open('%s/%s.group' % (self.run_dir, name)) as f:
                pid = int(f.read().split()[1])
            os.kill(pid, signal.SIGKILL)
            self.kills[name] += 1
            print('# kill -9', name, pid)
        except (OSError, ValueError, IndexError) as e:
            print('#', name, 'not killed:', e)


def replay(client, kind, path, acked):
    """A second request with the key: the same answer, byte for byte."""

    wrong = []
    owner = None

    for key, entry in acked.items():
        if entry[0] != owner:
            owner = entry[0]
            client.email, client.password = owner
            client.login()

        r = client.until((entry[2][0],), 'POST', path, entry[1], key)

        if r[2] != entry[2][2] or r[1].get('Idempotent-Replayed') != 'true':
            wrong.append('%s %s: %r != %r' % (kind, key, r[2][:200],
                                              entry[2][2][:200]))

    return wrong


def settled(client, payments):
    """Orders whose status is not what their token leads to."""

    wrong = []
    owner = None

    for entry in payments.values():
        if entry[0] != owner:
            owner = entry[0]
            client.email, client.password = owner
            client.login()

        order = entry[1]['orderId']
        want = TOKENS[entry[3]]
        got = {}

        def look():
            r = client.until((200,), 'GET', '/api/orders/' + order)
            got['status'] = json.loads(r[2])['status']
            return got['status'] == want

        if not wait('order %s %s' % (order, entry[3]), 90, look):
            wrong.append('%s %s: %s, not %s' % (order, entry[3],
                                                got['status'], want))

    return wrong


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--seconds', type=float, default=30)
    p.add_argument('--clients', type=int, default=6)
    p.add_argument('--interval', type=float, default=2.0)
    p.add_argument('--skip', default='')
    a = p.parse_args()

    run, state, gateway, kafka, programs = settings()
    programs = [x for x in programs if x not in a.skip.split(',')]

    client = Client(gateway)
    r = client.until((200,), 'GET', '/api/products')
    products = [x['id'] for x in json.loads(r[2])['content']]

    stop = threading.Event()
    load = [Load(gateway, stop, products) for _ in range(a.clients)]
    nemesis = Nemesis(run, programs, stop, a.interval)

    for t in load:
        t.start()
    nemesis.start()

    # every process has its turn, however long that takes
    time.sleep(a.seconds)
    wait('every process to have been killed', 120,
         lambda: len(nemesis.kills) == len(programs))
    stop.set()
    nemesis.join()

    for t in load:
        t.join(120)

    orders, payments, errors = {}, {}, []

    for t in load:
        orders.update(t.orders)
        payments.update(t.payments)
        errors += t.errors
        if t.is_alive():
            errors.append('a client still waits')

    print('# %d kills, %d orders, %d payments acknowledged' % (
        sum(nemesis.kills.values()), len(orders), len(payments)))

    check(len(nemesis.kills) == len(programs), 'every process was killed',
          set(programs) - set(nemesis.kills))
    check(not errors, 'every request was acknowledged in the end',
          '\n'.join(errors))
    check(len(orders) > 20, 'there was load', len(orders))

    wrong = settled(client, payments)
    check(not wrong, 'every order is settled as its token says',
          '\n'.join(wrong))

    wrong = replay(client, 'order', '/api/orders', orders)
    check(not wrong, 'every acknowledged order is there, once',
          '\n'.join(wrong))
    wrong = replay(client, 'payment', '/api/payments', payments)
    check(not wrong, 'every acknowledged payment is there, once',
          '\n'.join(wrong))

    v = subprocess.run([ROOT + '/opay', 'verify', '-w', '60'],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True)
    check(v.returncode == 0, './opay verify is clean',
          '\n'.join(x for x in v.stdout.splitlines() if 'NOT OK' in x
                    or x.startswith('   ')) or v.stdout[-800:])

    missing = []

    def published():
        seen = topics(kafka)
        missing[:] = [x for x in stored() if x not in seen]
        return not missing

    wait('every event on its topic', 60, published)
    check(not missing, 'every event is on its topic',
          '%d missing, %s' % (len(missing), missing[:5]))

    finish('chaos')


if __name__ == '__main__':
    main()
