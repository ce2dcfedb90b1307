"""What the sidecar's tests share: a private MariaDB, a broker, sidecars, a
service over mTLS, and ok/not ok lines.

Environment: OPAY_BUILD (directory with bin/), OPAY_TEST_PORT (first of 50
ports, default 24100; below those the kernel hands out to clients),
OPAY_TEST_KAFKA (directory of Kafka's jars: the real broker instead of
kafka-dev), OPAY_TEST_KEEP=1 (keep the temporary files).
"""

import atexit
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
BIN = os.path.join(os.environ.get("OPAY_BUILD", os.path.join(ROOT, "build")),
                   "bin")
PORT = int(os.environ.get("OPAY_TEST_PORT", "24100"))
JARS = os.environ.get("OPAY_TEST_KAFKA")
SLOW = 3 if "asan" in BIN else 1

TOPICS = ["order-events", "payment-events", "user-events", "auth-events"]

_done = 0
_failed = 0
_stop = []
TMP = tempfile.mkdtemp(prefix="opay-sidecar-")

# a mariadbd that starts deletes the temporary tables of others in its tmpdir
os.environ["TMPDIR"] = TMP


def ok(cond, name, *more):
    global _done, _failed
    _done += 1
    if cond:
        print(f"ok {_done} - {name}", flush=True)
    else:
        _failed += 1
        print(f"not ok {_done} - {name}", flush=True)
        for m in more:
            print(f"#   {m}", flush=True)
    return cond


def equal(got, want, name):
    return ok(got == want, name, f"got:  {str(got)[:600]}",
              f"want: {str(want)[:600]}")


def note(text):
    print(f"# {text}", flush=True)


def finish():
    print(f"1..{_done}", flush=True)
    sys.exit(1 if _failed or not _done else 0)


def wait(cond, seconds=15, step=0.02):
    """The first true value of cond(), or None at the deadline."""
    until = time.monotonic() + seconds * SLOW
    while True:
        v = cond()
        if v:
            return v
        if time.monotonic() > until:
            return None
        time.sleep(step)


def cleanup():
    for fn in reversed(_stop):
        try:
            fn()
        except Exception as e:
            print(f"# cleanup: {e}", flush=True)
    if not os.environ.get("OPAY_TEST_KEEP"):
        shutil.rmtree(TMP, ignore_errors=True)


atexit.register(cleanup)
signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))


class Process:
    """A child with its log; stopped at the end whatever happens."""

    def __init__(self, name, args, env=None):
        self.name = name
        self.args = args
        self.log = os.path.join(TMP, name + ".log")
        self.env = dict(os.environ, **(env or {}))
        self.p = None
        _stop.append(self.kill)

    def start(self):
        with open(self.log, "ab") as f:
            self.p = subprocess.Popen(self.args, stdout=f, stderr=f,
                                      stdin=subprocess.DEVNULL, env=self.env)
        return self

    def alive(self):
        return self.p is not None and self.p.poll() is None

    def signal(self, sig):
        if self.alive():
            self.p.send_signal(sig)

    def kill(self):
        if self.alive():
            self.p.send_signal(signal.SIGCONT)
            self.p.kill()
            self.p.wait()

    def stop(self, seconds=20):
        """TERM; the exit status, None when it did not end in time."""
        self.signal(signal.SIGTERM)
        try:
            return self.p.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()


class Database:
    def __init__(self):
        self.dir = os.path.join(TMP, "mariadb")
        self.sock = os.path.join(TMP, "db.sock")
        me = subprocess.run(["id", "-un"], capture_output=True,
                            text=True).stdout.strip()
        install = subprocess.run(
            ["mariadb-install-db", "--no-defaults", "--force",
             f"--datadir={self.dir}",
             f"--user={me}", "--auth-root-authentication-method=normal",
             "--skip-test-db"], capture_output=True, text=True)
        if install.returncode:
            raise Exception("mariadb-install-db: " + install.stderr)
        path = "/usr/sbin/mariadbd"
        self.proc = Process("mariadbd", [
            path, "--no-defaults", f"--datadir={self.dir}", f"--user={me}",
            f"--socket={self.sock}", f"--pid-file={TMP}/db.pid",
            "--skip-networking", "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=64M", "--character-set-server=utf8mb4",
            "--innodb-autoinc-lock-mode=2", "--skip-log-bin"])
        self.start()

    def start(self):
        self.proc.start()
        if not wait(self.up, 60):
            raise Exception("mariadbd does not answer: " + self.proc.text())

    def up(self):
        return subprocess.run(["mariadb-admin", "--no-defaults", "-uroot",
                               f"-S{self.sock}", "ping"],
                              capture_output=True).returncode == 0

    def sql(self, text, db=None):
        r = subprocess.run(["mariadb", "--no-defaults", "-uroot", "-N", "-B",
                            f"-S{self.sock}", *([db] if db else [])],
                           input=text, capture_output=True, text=True)
        if r.returncode:
            raise Exception("sql: " + r.stderr)
        return [line.split("\t") for line in r.stdout.splitlines()]

    def one(self, text, db=None):
        rows = self.sql(text, db)
        return rows[0][0] if rows else None

    def client(self, db):
        """A session of its own, to keep transactions open in."""
        return subprocess.Popen(["mariadb", "--no-defaults", "-uroot", "-N",
                                 "-B", "--unbuffered", f"-S{self.sock}", db],
                                stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)

    def schema(self, service):
        """The common tables and the sidecar's user, as the stack has it."""
        name = f"opay_{service}"
        path = [f for f in os.listdir(os.path.join(ROOT, "db", service))
                if f.endswith("_common.sql")][0]
        with open(os.path.join(ROOT, "db", service, path)) as f:
            up = f.read().split("-- migrate:up", 1)[1]
            up = up.split("-- migrate:down", 1)[0]
        self.sql(f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")
        self.sql(up, name)
        self.sql(f"""
            CREATE TABLE agg (n INT PRIMARY KEY, id BINARY(16),
                              ver INT NOT NULL);
            DROP USER IF EXISTS {name}_relay@localhost;
            CREATE USER {name}_relay@localhost IDENTIFIED BY 'relay-pw';
            GRANT SELECT ON {name}.events TO {name}_relay@localhost;
            GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.relay_checkpoint
                TO {name}_relay@localhost;
            GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.parked_events
                TO {name}_relay@localhost;""", name)
        return name


def event_sql(agg, version, etype="order.updated", agg_type="order",
              data='{"n":1}', key=None, eid="NULL", trace="NULL"):
    """An INSERT; agg and key are UUID texts, version a number or SQL."""
    key = key or agg
    return (f"INSERT INTO events (id, agg_type, agg_id, version, type, pkey,"
            f" data, actor, traceparent, prev_hash, hash, created_at) VALUES"
            f" ({eid}, '{agg_type}', UNHEX('{agg.replace('-', '')}'),"
            f" {version}, '{etype}', UNHEX('{key.replace('-', '')}'),"
            f" '{data}', 'test', {trace},"
            f" IF({version} = 1, NULL, REPEAT('x', 32)), REPEAT('y', 32),"
            f" ROUND(UNIX_TIMESTAMP(NOW(3)) * 1000));\n")


class Broker:
    """kafka-dev, or the real one when OPAY_TEST_KAFKA has its jars."""

    def __init__(self, port=PORT, partitions=4, dlt=True):
        self.port = port
        self.addr = f"127.0.0.1:{port}"
        self.partitions = partitions
        self.topics = TOPICS + ([t + ".dlt" for t in TOPICS] if dlt else [])
        if JARS:
            self.real()
        else:
            self.proc = Process("kafka-dev", [
                os.path.join(BIN, "kafka-dev"), "-p", str(port), "-n",
                str(partitions), *self.topics])
        self.start()

    def java(self, *args):
        return ["java", "-Xmx400m", "-cp", JARS + "/*",
                "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *args]

    def real(self):
        conf = os.path.join(TMP, "server.properties")
        with open(conf, "w") as f:
            f.write(f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self.port + 1}
listeners=PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.port + 1}
advertised.listeners=PLAINTEXT://127.0.0.1:{self.port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={TMP}/kafka
num.partitions={self.partitions}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
""")
        r = subprocess.run(self.java("kafka.tools.StorageTool", "format",
                                     "-t", "4L6g3nShT-eMCtK--X86sw", "-c",
                                     conf), capture_output=True, text=True)
        if r.returncode:
            raise Exception("StorageTool: " + r.stdout + r.stderr)
        self.proc = Process("kafka", self.java("kafka.Kafka", conf))

    def start(self):
        self.proc.start()
        if not wait(self.up, 60):
            raise Exception("no broker: " + self.proc.text()[-2000:])
        if JARS:
            r = subprocess.run([os.path.join(BIN, "opay-topics"), "-b",
                                self.addr, "-p", str(self.partitions), "-t",
                                "30", *self.topics], capture_output=True,
                               text=True)
            if r.returncode:
                raise Exception("opay-topics: " + r.stderr)

    def up(self):
        return subprocess.run(["kcat", "-q", "-m", "2", "-b", self.addr,
                               "-L"], capture_output=True).returncode == 0

    def down(self):
        if JARS:
            self.proc.stop(30)
        else:
            self.proc.signal(signal.SIGUSR1)

    def back(self):
        if JARS:
            self.proc.start()
        else:
            self.proc.signal(signal.SIGUSR2)
        if not wait(self.up, 60):
            raise Exception("the broker does not come back")

    def read(self, topic):
        """All messages of a topic, per partition in order."""
        r = subprocess.run(["kcat", "-q", "-b", self.addr, "-t", topic, "-C",
                            "-e", "-J", "-o", "beginning", "-X",
                            "fetch.wait.max.ms=10"],
                           capture_output=True, text=True)
        out = []
        for line in r.stdout.splitlines():
            m = json.loads(line)
            h = m.get("headers") or []
            m["h"] = dict(zip(h[::2], h[1::2]))
            out.append(m)
        return out

    def write(self, topic, key, value, headers):
        args = ["kcat", "-q", "-b", self.addr, "-t", topic, "-P", "-X",
                "partitioner=murmur2_random", "-D", "\x01"]
        if key is not None:
            args += ["-k", key]
        for k, v in headers.items():
            args += ["-H", f"{k}={v}"]
        r = subprocess.run(args, input=value, capture_output=True, text=True)
        if r.returncode:
            raise Exception("kcat: " + r.stderr)

    def event(self, topic, agg, version, etype="order.updated", key=None,
              data=None, agg_type="order", **headers):
        key = key or agg
        h = {"ce_specversion": "1.0", "ce_id": f"{agg_type}-{agg}-{version}",
             "ce_source": "/opay/order", "ce_type": etype, "ce_subject": agg,
             "ce_time": "2026-11-22T09:30:00.123Z", "ce_partitionkey": key,
             "ce_sequence": str(version), "content-type": "application/json"}
        h.update(headers)
        self.write(topic, key, json.dumps(data or {"version": version}),
                   {k: v for k, v in h.items() if v is not None})


class Sidecar(Process):
    def __init__(self, name, service, db, broker, status, **conf):
        self.status = status
        self.conf = os.path.join(TMP, name + ".conf")
        secret = os.path.join(TMP, "relay.pw")
        with open(secret, "w") as f:
            f.write("relay-pw\n")
        c = {"service": service, "db_socket": db.sock,
             "db_user": f"opay_{service}_relay", "db_password_file": secret,
             "db_name": f"opay_{service}", "kafka_bootstrap": broker.addr,
             "status_listen": f"127.0.0.1:{status}", "log_level": "info",
             "notify_socket": os.path.join(TMP, f"relay-{service}.sock")}
        c.update(conf)
        with open(self.conf, "w") as f:
            for k, v in c.items():
                if v is not None:
                    f.write(f"{k.replace('__', '.')} = {v}\n")
        super().__init__(name, [os.path.join(BIN, "opay-sidecar"), "-c",
                                self.conf])

    def http(self, path):
        if self.p.poll() is not None:
            raise Exception(f"{self.name} died with {self.p.returncode}:\n"
                            + self.text()[-3000:])
        try:
            with urllib.request.urlopen(
                    f"http://127.0.0.1:{self.status}{path}", timeout=3) as r:
                return r.status, r.read().decode(), dict(r.headers)
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(), dict(e.headers)
        except OSError:
            return 0, "", {}

    def ready(self):
        return self.http("/readyz")[0] == 200

    def metric(self, name):
        total = None
        for line in self.http("/metrics")[1].splitlines():
            if line.startswith(name + " ") or line.startswith(name + "{"):
                total = (total or 0) + float(line.rsplit(" ", 1)[1])
        return total

    def role(self):
        try:
            body = json.loads(self.http("/readyz")[1])
            return body["checks"]["relay:role"][0]["observedValue"]
        except (ValueError, KeyError):
            return None

    def notify(self, db):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        s.sendto(b"1", os.path.join(TMP, "relay-order.sock"))
        s.close()


def certificates():
    """ca.pem and leaf certificates for a service and a sidecar."""
    d = os.path.join(TMP, "tls")
    os.makedirs(d, exist_ok=True)

    def run(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True,
                       cwd=d)

    run("req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key",
        "-out", "ca.pem", "-days", "2", "-subj", "/CN=test ca")
    for name in ["order", "user", "sidecar-order"]:
        with open(os.path.join(d, name + ".ext"), "w") as f:
            f.write(f"subjectAltName=DNS:{name}.opay.internal,"
                    f"URI:spiffe://opay/{name}\n"
                    "extendedKeyUsage=serverAuth,clientAuth\n")
        run("req", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            name + ".key", "-out", name + ".csr", "-subj", f"/CN={name}")
        run("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey",
            "ca.key", "-CAcreateserial", "-days", "2", "-extfile",
            name + ".ext", "-out", name + ".pem")
    return d


class Service:
    """POST /internal/events over mTLS, with watermarks like a service's."""

    def __init__(self, port, tls, cert="order"):
        self.port = port
        self.last = {}                 # aggregate -> last version applied
        self.applied = []              # (key, aggregate, version)
        self.requests = []             # numbers of events
        self.bodies = []
        self.refuse = set()            # aggregates to reject
        self.poison = set()            # aggregates that make it answer 400
        self.fail = None               # status to answer everything with
        self.hold = threading.Event()  # cleared: answers wait
        self.hold.set()
        self.waiting = 0
        self.conns = 0
        self.socks = []
        self.tls = tls
        self.cert = cert
        self.server = None
        _stop.append(self.stop)

    def start(self):
        me = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True
            wbufsize = -1

            def setup(self):
                self.request.settimeout(30)
                self.request.do_handshake()
                me.conns += 1
                me.socks.append(self.request)
                super().setup()

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                me.waiting += 1
                me.hold.wait(60)
                me.waiting -= 1
                status, answer = me.handle(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, request, addr):
                pass

        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(f"{self.tls}/{self.cert}.pem",
                            f"{self.tls}/{self.cert}.key")
        ctx.load_verify_locations(f"{self.tls}/ca.pem")
        ctx.verify_mode = ssl.CERT_REQUIRED
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.socket = ctx.wrap_socket(self.server.socket,
                                             server_side=True,
                                             do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, args=(0.05,),
                         daemon=True).start()
        return self

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None
            for sock in self.socks:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def handle(self, path, body):
        if path != "/internal/events":
            return 404, {}
        if self.fail:
            return self.fail, {}
        events = json.loads(body)["events"]
        if any(e["aggregateId"] in self.poison for e in events):
            return 400, {"code": "malformed_json"}
        self.requests.append(len(events))
        self.bodies.append(events)
        return 200, {"results": [self.one(e) for e in events]}

    def one(self, e):
        agg, v = e["aggregateId"], e["sequence"]
        last = self.last.get(agg, 0)
        if v <= last:
            return {"id": e["id"], "outcome": "duplicate"}
        if agg in self.refuse:
            return {"id": e["id"], "outcome": "rejected",
                    "reason": "not today"}
        if v > last + 1:
            return {"id": e["id"], "outcome": "gap"}
        self.last[agg] = v
        self.applied.append((e["key"], agg, v))
        return {"id": e["id"], "outcome": "applied"}


def new_id():
    """A UUID of version 7, as the services make them."""
    b = bytearray(int(time.time() * 1000).to_bytes(6, "big") + os.urandom(10))
    b[6] = 0x70 | b[6] & 0x0f
    b[8] = 0x80 | b[8] & 0x3f
    return str(uuid.UUID(bytes=bytes(b)))
