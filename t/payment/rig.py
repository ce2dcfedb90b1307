"""A payment service for tests: real nginx, MariaDB and pgsim, a stand-in for
the order service, tokens and certificates made on the spot.

Environment: OPAY_BUILD (directory with modules/ and bin/, default build),
OPAY_NGINX, OPAY_PRELOAD (sanitizer runtime), OPAY_TEST_PORT (first port
to try, default 42020), OPAY_TEST_DB_* (tools/with-db.sh sets them).
"""

import atexit
import base64
import hashlib
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import urllib.parse
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get('OPAY_BUILD', ROOT / 'build'))
PORT = iter(range(int(os.environ.get('OPAY_TEST_PORT', '42020')), 65000))
NGINX = os.environ.get('OPAY_NGINX') or shutil.which(
    'nginx', path=os.environ['PATH'] + ':/usr/sbin')
SLOW = 3 if os.environ.get('OPAY_PRELOAD') else 1


def wait(cond, seconds=20, step=0.05):
    """The first true value of cond(); an error at the deadline."""
    until = time.monotonic() + seconds * SLOW
    while True:
        v = cond()
        if v:
            return v
        if time.monotonic() > until:
            raise AssertionError('waited %s s' % seconds)
        time.sleep(step)


def free_port():
    """These are ephemeral ports: any connection of this machine may have it."""
    for port in PORT:
        try:
            with socket.create_server(('127.0.0.1', port)):
                return port
        except OSError:
            pass


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b'=').decode()


def run(*args, data=None):
    return subprocess.run(args, input=data, check=True,
                          capture_output=True).stdout


class Keys:
    """A CA with leaves, and an ES256 key with its JWKS."""

    def __init__(self, d):
        self.d = d
        run('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt',
            'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj',
            '/CN=test', '-keyout', d + '/ca.key', '-out', d + '/ca.pem')
        for name in ('payment', 'order', 'sidecar-payment', 'stranger'):
            self.leaf(name)

        key = d + '/jwt.pem'
        run('openssl', 'ecparam', '-name', 'prime256v1', '-genkey', '-noout',
            '-out', key)
        point = run('openssl', 'ec', '-in', key, '-pubout', '-outform',
                    'DER')[-64:]
        jwk = {'crv': 'P-256', 'kty': 'EC', 'x': b64(point[:32]),
               'y': b64(point[32:])}
        self.kid = b64(hashlib.sha256(json.dumps(
            jwk, separators=(',', ':'), sort_keys=True).encode()).digest())
        jwk.update(use='sig', alg='ES256', kid=self.kid)
        pathlib.Path(d, 'jwks.json').write_text(json.dumps({'keys': [jwk]}))

    def leaf(self, name):
        d = self.d
        ext = ('subjectAltName=DNS:%s.opay.internal,URI:spiffe://opay/%s\n'
               'extendedKeyUsage=serverAuth,clientAuth\n' % (name, name))
        pathlib.Path(d, 'ext').write_text(ext)
        run('openssl', 'req', '-newkey', 'ec', '-pkeyopt',
            'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=' + name,
            '-keyout', '%s/%s.key' % (d, name), '-out', d + '/csr')
        run('openssl', 'x509', '-req', '-in', d + '/csr', '-CA',
            d + '/ca.pem', '-CAkey', d + '/ca.key', '-CAcreateserial',
            '-days', '2', '-extfile', d + '/ext', '-out',
            '%s/%s.pem' % (d, name))

    def token(self, user, roles=('USER',)):
        now = int(time.time())
        head = {'alg': 'ES256', 'typ': 'at+jwt', 'kid': self.kid}
        body = {'iss': 'https://opay.test', 'aud': 'opay', 'sub': user,
                'sid': str(uuid.uuid4()), 'jti': str(uuid.uuid4()),
                'iat': now, 'exp': now + 300, 'roles': list(roles)}
        text = '.'.join(b64(json.dumps(x, separators=(',', ':')).encode())
                        for x in (head, body))
        der = run('openssl', 'dgst', '-sha256', '-sign',
                  self.d + '/jwt.pem', data=text.encode())
        r_len = der[3]
        r, s = der[4:4 + r_len], der[6 + r_len:]
        return text + '.' + b64(r.lstrip(b'\0').rjust(32, b'\0')
                                + s.lstrip(b'\0').rjust(32, b'\0'))

    def context(self, name=None):
        c = ssl.create_default_context(cafile=self.d + '/ca.pem')
        c.check_hostname = False
        if name:
            c.load_cert_chain('%s/%s.pem' % (self.d, name),
                              '%s/%s.key' % (self.d, name))
        return c


class Orders(http.server.ThreadingHTTPServer):
    """GET /internal/orders/{id} of what was put into .known."""

    daemon_threads = True

    def __init__(self, keys, port):
        self.known = {}
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                oid = self.path.rsplit('/', 1)[1]
                outer.asked.append(oid)
                o = outer.known.get(oid)
                body = json.dumps(o or {'code': 'not_found'}).encode()
                self.send_response(200 if o else 404)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *a):
                pass

        super().__init__(('127.0.0.1', port), Handler)
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(keys.d + '/order.pem', keys.d + '/order.key')
        c.load_verify_locations(keys.d + '/ca.pem')
        c.verify_mode = ssl.CERT_REQUIRED
        self.socket = c.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()


CONF = '''
load_module %(build)s/modules/ngx_opay_core_module.so;
load_module %(build)s/modules/ngx_opay_payment_module.so;
daemon off;
user root;
working_directory %(d)s;
worker_rlimit_core 500m;
worker_processes 1;
pid %(d)s/nginx.pid;
error_log %(d)s/error.log info;
thread_pool r threads=2;
thread_pool w threads=3;
events { worker_connections 512; }
http {
    access_log off;
    client_body_temp_path %(d)s/tmp;
    client_body_buffer_size 64k;
    client_max_body_size 64k;
    opay_zone 2m;
    opay_state_dir %(d)s/state;
    opay_watch order fallback=127.0.0.1:%(order)d;
    opay_jwt_jwks %(d)s/jwks.json;
    opay_jwt_issuer https://opay.test;
    opay_jwt_audience opay;
    server {
        listen 127.0.0.1:%(port)d ssl;
        ssl_certificate %(d)s/payment.pem;
        ssl_certificate_key %(d)s/payment.key;
        ssl_client_certificate %(d)s/ca.pem;
        ssl_verify_client optional;
        location = /internal/events {
            client_max_body_size 1m;
            client_body_buffer_size 1m;
        }
        opay_internal_peers sidecar-payment;
        opay_db unix:%(socket)s;
        opay_db_name opay_payment;
        opay_db_user payment_test;
        opay_db_password_file %(d)s/password;
        opay_pool read r slots=2;
        opay_pool write w slots=3;
        opay_payment;
        opay_payment_cursor_key %(d)s/cursor.key;
        opay_payment_provider pgsim url=http://127.0.0.1:%(pgsim)d
                              secret_file=%(d)s/pgsim.key timeout=1s;
        opay_tls_client ca=%(d)s/ca.pem cert=%(d)s/payment.pem
                        key=%(d)s/payment.key;
    }
}
'''

GRANTS = '''
DROP USER IF EXISTS payment_test@localhost;
CREATE USER payment_test@localhost IDENTIFIED BY 'pw';
GRANT SELECT, INSERT ON opay_payment.events TO payment_test@localhost;
'''


class Rig:
    def __init__(self):
        self.d = tempfile.mkdtemp(prefix='opay-payment-')
        os.chmod(self.d, 0o755)
        os.mkdir(self.d + '/state')
        self.keys = Keys(self.d)
        self.port, self.pgsim_port = free_port(), free_port()
        order_port = free_port()
        for name, text in (('password', 'pw'), ('cursor.key', '5a' * 32),
                           ('pgsim.key', 'test_sk_rig')):
            pathlib.Path(self.d, name).write_text(text + '\n')
        self.grant()
        self.orders = Orders(self.keys, order_port)
        self.pgsim = self.nginx = None
        self.tokens = {}
        self.files = []
        atexit.register(self.kill)
        self.start_pgsim()
        self.conf = self.d + '/nginx.conf'
        pathlib.Path(self.conf).write_text(CONF % {
            'build': BUILD, 'd': self.d, 'port': self.port,
            'order': order_port, 'pgsim': self.pgsim_port,
            'socket': os.environ['OPAY_TEST_DB_SOCKET']})
        self.start_nginx()

    # --- database

    def sql(self, text):
        out = run('mariadb', '--defaults-file='
                  + os.environ['OPAY_TEST_DB_ADMIN'], '--batch', '-N',
                  'opay_payment', data=text.encode()).decode()
        return [line.split('\t') for line in out.splitlines()]

    def grant(self):
        self.sql(GRANTS + ''.join(
            'GRANT SELECT, INSERT, UPDATE, DELETE ON opay_payment.%s'
            ' TO payment_test@localhost;' % t
            for t in ('idempotency', 'inbox', 'payable_order', 'payments',
                      'payment_attempts', 'refunds')))

    # --- processes

    def append(self, name):
        f = open(self.d + '/' + name, 'a')
        self.files.append(f)
        return f

    def start_pgsim(self):
        self.spawn_pgsim()

        def ready():
            if self.pgsim.poll() is not None:
                self.spawn_pgsim()
            return self.up(self.pgsim_port)

        wait(ready)

    def spawn_pgsim(self):
        self.pgsim = subprocess.Popen(
            [str(BUILD / 'bin/pgsim'), '--listen',
             '127.0.0.1:%d' % self.pgsim_port, '--db',
             self.d + '/ledger.db', '--secret-file', self.d + '/pgsim.key',
             '--hold', '5', '--session-ttl', '3'],
            stdout=subprocess.DEVNULL, stderr=self.append('pgsim.log'))

    def stop_pgsim(self):
        self.pgsim.terminate()
        assert self.pgsim.wait(20) == 0

    def up(self, port):
        c = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
        try:
            c.request('GET', '/livez')
            c.getresponse().read()
            return True
        except (OSError, http.client.HTTPException):
            return False
        finally:
            c.close()

    def start_nginx(self):
        env = dict(os.environ)
        if os.environ.get('OPAY_PRELOAD'):
            env['LD_PRELOAD'] = os.environ['OPAY_PRELOAD']
            env['ASAN_OPTIONS'] = ('detect_leaks=0:'
                                   'detect_odr_violation=0')
        self.nginx = subprocess.Popen(
            [NGINX, '-p', self.d, '-c', self.conf],
            stdout=subprocess.DEVNULL, stderr=self.append('nginx.err'),
            env=env)

        def ready():
            if self.nginx.poll() is not None:
                raise AssertionError(self.log())
            try:
                return self.call('GET', '/nothing')[0] == 404
            except OSError:
                return False

        wait(ready)

    def kill(self):
        for p in (self.nginx, self.pgsim):
            if p and p.poll() is None:
                p.terminate()
                p.wait(30)

    def worker(self):
        kids = run('ps', '-o', 'pid=', '--ppid', str(self.nginx.pid))
        return [int(x) for x in kids.split()]

    def log(self):
        return ''.join(pathlib.Path(self.d, f).read_text(errors='replace')
                       for f in ('nginx.err', 'error.log', 'pgsim.log')
                       if os.path.exists(self.d + '/' + f))

    def close(self):
        self.nginx.send_signal(signal.SIGQUIT)
        rc = self.nginx.wait(30)
        self.stop_pgsim()
        self.orders.shutdown()
        self.orders.server_close()
        for f in self.files:
            f.close()
        log = self.log()
        if not os.environ.get('OPAY_TEST_KEEP'):
            shutil.rmtree(self.d)
        bad = [x for x in log.splitlines()
               if 'Sanitizer' in x or 'runtime error' in x
               or '[emerg]' in x or 'open socket' in x
               or ('[alert]' in x and 'provider\'s answer' not in x
                   and 'signal 9' not in x)]
        assert rc == 0 and not bad, (rc, bad)

    # --- calls

    def call(self, method, path, body=None, user=None, key=None, roles=None,
             cert=None, timeout=30, headers=None):
        headers = dict(headers or {})
        if user:
            who = (user, tuple(roles or ('USER',)))
            if who not in self.tokens:
                self.tokens[who] = self.keys.token(*who)
            headers['Authorization'] = 'Bearer ' + self.tokens[who]
        if key:
            headers['Idempotency-Key'] = key
        if body is not None:
            headers['Content-Type'] = 'application/json'
            if not isinstance(body, (str, bytes)):
                body = json.dumps(body)
        c = http.client.HTTPSConnection(
            '127.0.0.1', self.port, timeout=timeout,
            context=self.keys.context(cert))
        try:
            c.request(method, path, body, headers)
            r = c.getresponse()
            raw = r.read()
            return r.status, json.loads(raw), r.headers, raw
        finally:
            c.close()

    def provider(self, method, path, body=None):
        c = http.client.HTTPConnection('127.0.0.1', self.pgsim_port,
                                       timeout=20)
        try:
            c.request(method, path, json.dumps(body) if body else None)
            return json.loads(c.getresponse().read())
        finally:
            c.close()

    def fault(self, **rule):
        self.provider('POST', '/_sim/faults', rule)

    def attempts(self, order):
        return [x[0] for x in self.sql(
            "SELECT LOWER(INSERT(INSERT(INSERT(INSERT(HEX(id),9,0,'-'),14,0,"
            "'-'),19,0,'-'),24,0,'-')) FROM payment_attempts WHERE order_id ="
            " UNHEX('%s')" % order.replace('-', ''))]

    def ledger(self, order):
        """What the provider did for one of our orders."""
        got = {'approvals': [], 'cancels': []}
        for a in self.attempts(order):
            one = self.provider('GET', '/_sim/ledger?orderId=' + a)
            got['approvals'] += one['approvals']
            got['cancels'] += one['cancels']
        return got

    # --- orders

    def deliver(self, *events, cert='sidecar-payment'):
        return self.call('POST', '/internal/events',
                         {'events': list(events)}, cert=cert)

    def event(self, order, kind, version, user, total=15000, **data):
        status = data.pop('status', 'CREATED')
        body = {'orderId': order, 'userId': user, 'orderNumber': 'O-1',
                'previousStatus': None, 'status': status,
                'financialStatus': 'UNPAID', 'pendingOperation': None,
                'currency': 'KRW', 'totalAmount': total, 'version': version,
                'expiresAt': '2099-01-01T00:00:00.000Z'}
        body.update(data)
        return {'id': 'order-%s-%d' % (order, version), 'source':
                '/opay/order', 'type': 'order.' + kind, 'aggregate': 'order',
                'aggregateId': order, 'key': order, 'sequence': version,
                'time': '2026-11-22T09:30:00.123Z', 'traceparent': None,
                'data': body}

    def order(self, user, total=15000, **data):
        o = str(uuid.uuid4())
        status, r, _, _ = self.deliver(
            self.event(o, 'created', 1, user, total, **data))
        assert (status, r['results'][0]['outcome']) == (200, 'applied'), r
        return o

    def pay(self, user, order, token='tok_ok', key=None, **more):
        body = {'orderId': order, 'paymentMethod': 'CREDIT_CARD',
                'paymentToken': token}
        body.update(more)
        return self.call('POST', '/api/payments', body, user,
                         key or str(uuid.uuid4()))

    def get(self, user, pid):
        return self.call('GET', '/api/payments/' + pid, user=user)[1]

    def events(self, pid):
        return [x[0] for x in self.sql(
            "SELECT type FROM events WHERE agg_id = UNHEX('%s')"
            " ORDER BY version" % pid.replace('-', ''))]
