#!/usr/bin/env python3
"""The running stack against api/openapi.yaml: every operation is called, and
every answer must be one that the document has: status, media type, headers,
body.  Prints "ok ..." and "not ok ..." lines.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import time
import uuid

import jsonschema
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
METHODS = ('get', 'put', 'post', 'delete')
HEX32 = re.compile(r'[0-9a-f]{32}$')

with open(ROOT + '/api/openapi.yaml') as f:
    DOC = yaml.safe_load(f)

called = set()
count = {'ok': 0, 'not ok': 0}


def verdict(name, found):
    word = 'not ok' if found else 'ok'
    count[word] += 1
    print(word, name)
    for text in found:
        print('#', text)
    sys.stdout.flush()


def deref(node):
    while '$ref' in node:
        ref = node['$ref']
        node = DOC
        for part in ref[2:].split('/'):
            node = node[part]
    return node


def operation(method, template):
    return DOC['paths'][template][method.lower()]


def faults(op, status, headers, body):
    """What the document does not say of this answer."""

    answer = op['responses'].get(str(status), op['responses'].get('default'))
    found = []

    if str(status) not in op['responses'] and status < 400:
        return ['status %d is not described' % status]

    answer = deref(answer)
    kind = (headers.get_content_type() if headers.get('Content-Type')
            else None)
    content = answer.get('content', {})

    if kind is None and (content or body):
        found.append('no Content-Type')

    elif kind is not None and kind not in content:
        found.append('media type %s is not described' % kind)

    elif kind and content[kind].get('schema'):
        schema = dict(content[kind]['schema'], components=DOC['components'])
        v = jsonschema.Draft202012Validator(schema)
        found += ['%s: %s' % (list(e.path), e.message)
                  for e in v.iter_errors(json.loads(body))]

    for name, header in answer.get('headers', {}).items():
        rule = deref(header)['schema']
        value = headers.get(name)

        if value is None:
            if name not in ('Idempotent-Replayed', 'Retry-After',
                            'WWW-Authenticate'):
                found.append('header %s is missing' % name)
        elif rule.get('type') == 'string':
            found += ['%s: %s' % (name, e.message) for e in
                      jsonschema.Draft202012Validator(rule).iter_errors(value)]

    if len(headers.get_all('X-Request-Id') or []) != 1 \
       or not HEX32.match(headers['X-Request-Id']):
        found.append('X-Request-Id is not there once: %s'
                     % headers.get_all('X-Request-Id'))

    if status == 401 and not headers.get('WWW-Authenticate'):
        found.append('401 without WWW-Authenticate')

    if status == 405 and not headers.get('Allow'):
        found.append('405 without Allow')

    return found


class Stack:

    def __init__(self):
        out = subprocess.run(
            ['bash', '-c', '. "%s/tools/opay/lib.sh" && '
             'echo ${ports[gateway]}' % ROOT], check=True, text=True,
            env=dict(os.environ, OPAY_ROOT=ROOT), stdout=subprocess.PIPE)
        self.port = int(out.stdout)
        self.token = None

    def send(self, method, path, body=None, headers=None, raw=None):
        headers = dict(headers or {})

        if self.token:
            headers.setdefault('Authorization', 'Bearer ' + self.token)

        if body is not None:
            raw = json.dumps(body)
            headers.setdefault('Content-Type', 'application/json')

        conn = http.client.HTTPConnection('127.0.0.1', self.port, timeout=20)
        conn.request(method, path, raw, headers)
        r = conn.getresponse()
        data = r.read()
        conn.close()

        return r.status, r.headers, data

    def call(self, method, template, want, body=None, headers=None, raw=None,
             query='', note='', **params):
        """One request, judged; the decoded body."""

        path = template
        for name, value in params.items():
            path = path.replace('{%s}' % name, value)

        op = operation(method, template)
        status, got, data = self.send(method, path + query, body, headers,
                                      raw)
        found = faults(op, status, got, data)

        if status != want:
            found.insert(0, 'answered %d instead of %d: %s'
                         % (status, want, data[:300]))

        called.add(op['operationId'])
        verdict('%s %s%s: %d%s' % (method, template, query, want,
                                   note and ' ' + note), found)

        kind = got.get('Content-Type', '')

        return json.loads(data) if 'json' in kind else data, got


def account(s):
    email = 'api-%s@example.com' % uuid.uuid4().hex[:12]
    password = 'api ' + uuid.uuid4().hex
    new = {'email': email, 'password': password, 'name': 'Api',
           'phoneNumber': '010-1234-5678', 'address': None}

    s.call('POST', '/api/auth/signup', 201, new)
    s.call('POST', '/api/auth/signup', 409, new, note='taken')
    s.call('POST', '/api/auth/signup', 400, {'email': 'x', 'extra': 1})
    s.call('POST', '/api/auth/signup', 415, raw='{}')
    s.call('POST', '/api/auth/signup', 413,
           {'email': 'x' * 9000})

    s.call('POST', '/api/auth/login', 401,
           {'email': email, 'password': 'wrong'})
    s.call('POST', '/api/auth/login', 400, raw='{"email":',
           headers={'Content-Type': 'application/json'}, note='cut')
    login = {'email': email, 'password': password}
    tokens, _ = s.call('POST', '/api/auth/login', 200, login)
    tokens, _ = s.call('POST', '/api/auth/refresh', 200,
                       {'refreshToken': tokens['refreshToken']})
    s.call('POST', '/api/auth/refresh', 401, {'refreshToken': 'x'})

    other, _ = s.call('POST', '/api/auth/login', 200, login)
    for _ in range(2):
        s.call('POST', '/api/auth/logout', 204,
               {'refreshToken': other['refreshToken']})

    s.call('GET', '/.well-known/jwks.json', 200)
    s.call('GET', '/api/users/{id}', 401, id='me')
    s.token = tokens['accessToken']


def users(s):
    s.call('GET', '/api/users/{id}', 200, id='me')
    s.call('GET', '/api/users/{id}', 404, id=str(uuid.uuid4()))
    s.call('PUT', '/api/users/{id}', 428, {'name': 'B'}, id='me')
    s.call('PUT', '/api/users/{id}', 412, {'name': 'B'}, id='me',
           headers={'If-Match': '"999"'})
    s.call('PUT', '/api/users/{id}', 200, {'name': 'B'}, id='me',
           headers={'If-Match': '*'})


def products(s):
    page, _ = s.call('GET', '/api/products', 200, query='?limit=2')
    s.call('GET', '/api/products', 200,
           query='?limit=2&after=' + page['next'])
    s.call('GET', '/api/products', 400, query='?limit=0')
    one = page['content'][0]['id']
    s.call('GET', '/api/products/{id}', 200, id=one)
    s.call('GET', '/api/products/{id}', 404, id='x')

    return one


def orders(s, product):
    key = {'Idempotency-Key': str(uuid.uuid4())}
    new = {'shippingAddress': 'somewhere',
           'items': [{'productId': product, 'quantity': 1}]}

    order, first = s.call('POST', '/api/orders', 201, new, key)
    again, got = s.call('POST', '/api/orders', 201, new, key,
                        note='again')
    verdict('a replay is the same order, and says so',
            [] if again == order and got['Idempotent-Replayed'] == 'true'
            and 'Idempotent-Replayed' not in first else [str(again)])

    s.call('POST', '/api/orders', 422, dict(new, shippingAddress='b'), key)
    s.call('POST', '/api/orders', 400, {'items': []})
    s.call('GET', '/api/orders', 200)
    s.call('GET', '/api/orders', 200,
           query='?status=CREATED&createdFrom=2026-01-01T00:00:00Z')
    s.call('GET', '/api/orders', 400, query='?status=NO')
    s.call('GET', '/api/orders', 403, query='?userId=' + str(uuid.uuid4()))
    s.call('GET', '/api/orders/status/{status}', 200, status='CREATED')
    s.call('GET', '/api/orders/{id}', 200, id=order['id'])
    s.call('GET', '/api/orders/{id}', 404, id=str(uuid.uuid4()))
    s.call('GET', '/api/orders/{id}/history', 200, id=order['id'])

    gone, _ = s.call('POST', '/api/orders', 201, new)
    s.call('DELETE', '/api/orders/{id}', 412, id=gone['id'],
           headers={'If-Match': '"9"'})
    s.call('DELETE', '/api/orders/{id}', 200, id=gone['id'])

    return order['id'], new


def pay(s, want, order, token, note):
    """A client that is quicker than Kafka is told to come again."""

    body = {'orderId': order, 'paymentMethod': 'CREDIT_CARD',
            'paymentToken': token}
    key = {'Idempotency-Key': str(uuid.uuid4())}
    end = time.monotonic() + 20

    while time.monotonic() < end:
        status, _, data = s.send('POST', '/api/payments', body, key)
        if status != 409 or b'order_not_yet_known' not in data:
            break
        time.sleep(0.1)

    # settled now: what is judged is the replay, or the same refusal
    return s.call('POST', '/api/payments', want, body, key, note=note)[0]


def payments(s, order, new):
    s.call('POST', '/api/payments', 400, {'orderId': order}, note='no key')
    pay(s, 402, order, 'tok_decline', 'declined')
    payment = pay(s, 201, order, 'tok_ok', 'charged')
    pay(s, 409, order, 'tok_ok', 'paid already')
    pay(s, 404, str(uuid.uuid4()), 'tok_ok', 'no such order')

    s.call('GET', '/api/payments', 200)
    s.call('GET', '/api/payments', 400, query='?after=x')
    s.call('GET', '/api/payments/status/{status}', 200, status='SUCCESS')
    s.call('GET', '/api/payments/{id}', 200, id=payment['id'])
    s.call('GET', '/api/payments/{id}', 404, id='x')
    s.call('GET', '/api/payments/order/{orderId}', 200, orderId=order)

    slow, _ = s.call('POST', '/api/orders', 201, new)
    pay(s, 202, slow['id'], 'tok_timeout_not_charged', 'not known yet')

    end = time.monotonic() + 20
    while time.monotonic() < end:
        got = json.loads(s.send('GET', '/api/orders/' + order)[2])
        if got['status'] == 'PAID':
            break
        time.sleep(0.1)

    s.call('DELETE', '/api/orders/{id}', 202, id=order, note='paid')
    s.call('GET', '/api/orders/{id}/history', 200, id=order)


def edge(s):
    for path in ('/livez', '/readyz', '/healthz'):
        s.call('GET', path, 200)

    doc, _ = s.call('GET', '/openapi.yaml', 200)
    with open(ROOT + '/api/openapi.yaml', 'rb') as f:
        verdict('/openapi.yaml is api/openapi.yaml',
                [] if f.read() == doc else ['it is not'])

    s.call('GET', '/api/orders', 401, headers={'Authorization': 'Bearer x'})

    _, got = s.call('GET', '/api/products', 200, note='limits')
    verdict('what is left of the limit is told',
            [] if re.match(r'"user";r=\d+;t=\d+$', got['RateLimit'] or '')
            and re.match(r'"user";q=\d+;w=\d+$',
                         got['RateLimit-Policy'] or '')
            else [str(got)])

    status, got, data = s.send('PATCH', '/api/orders')
    verdict('a method that a path does not have: 405',
            faults(operation('GET', '/api/orders'), status, got, data)
            + ([] if status == 405 else [str(status)]))

    status, got, data = s.send('GET', '/no/such/path')
    verdict('a path that is nowhere: 404',
            faults(operation('GET', '/api/orders'), status, got, data)
            + ([] if status == 404 else [str(status)]))


def main():
    s = Stack()

    account(s)
    users(s)
    order, new = orders(s, products(s))
    payments(s, order, new)
    edge(s)

    known = {op['operationId'] for item in DOC['paths'].values()
             for method, op in item.items() if method in METHODS}
    verdict('every operation was called', sorted(known - called))

    print('openapi: %d passed, %d failed' % (count['ok'], count['not ok']))
    return count['not ok'] != 0


if __name__ == '__main__':
    sys.exit(main())
