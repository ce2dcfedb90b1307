#!/usr/bin/python3
"""The subscriber: in order, once the service has answered, nothing blocks."""

import http.server
import json
import os
import signal
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *                                          # noqa: E402

db = Database()
broker = Broker()
tls = certificates()
group = 0


def service(**more):
    return Service(PORT + 20, tls, **more).start()


def sidecar(name="s1", status=PORT + 10, **conf):
    """A group of its own, which has read what the topics hold already."""
    c = dict(topics="order-events", target=f"127.0.0.1:{PORT + 20}",
             tls_ca=f"{tls}/ca.pem", tls_cert=f"{tls}/sidecar-order.pem",
             tls_key=f"{tls}/sidecar-order.key", group=f"g{group}",
             notify_socket=None, park_retry_min="200ms",
             park_retry_max="500ms", retry_max="500ms", poll_interval="20s")
    c.update(conf)
    return Sidecar(name, "order", db, broker, status, **c)


def begin(svc, **conf):
    """A sidecar with its partitions, past the messages of earlier tests."""
    global group
    group += 1
    db.schema("order")
    s = sidecar(**conf).start()
    ok(wait(lambda: s.ready() and s.metric("opay_consumer_partitions"), 30),
       "ready, with partitions", s.text()[-1500:])
    marks = [new_id() for _ in range(12)]
    for m in marks:
        broker.event("order-events", m, 1)
    ok(wait(lambda: all(m in svc.last for m in marks), 30),
       "has caught up", s.text()[-1500:])
    wait(lambda: s.metric("opay_parked_events") == 0)
    svc.applied.clear()
    svc.requests.clear()
    svc.bodies.clear()
    return s


def committed(s):
    return s.metric("opay_consumer_lag") == 0


def versions(svc, agg):
    return [v for _, a, v in svc.applied if a == agg]


def parked():
    return int(db.one("SELECT COUNT(*) FROM parked_events", "opay_order"))


def dlt(agg):
    return [m for m in broker.read("order-events.dlt")
            if m["h"].get("ce_subject") == agg]


def test_order():
    svc = service()
    s = begin(svc)
    aggs = [new_id() for _ in range(6)]
    tp = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    key = new_id()
    broker.event("order-events", aggs[0], 1, "order.created", key,
                 {"total": 12, "s": "é"}, traceparent=tp)
    ok(wait(lambda: svc.bodies), "an event is delivered", s.text())
    equal(svc.bodies[0], [{
        "id": f"order-{aggs[0]}-1", "source": "/opay/order",
        "type": "order.created", "aggregate": "order",
        "aggregateId": aggs[0], "key": key, "sequence": 1,
        "time": "2026-11-22T09:30:00.123Z", "traceparent": tp,
        "data": {"total": 12, "s": "é"}}], "as agreed on")
    for v in range(1, 30):
        for a in aggs[1:]:
            broker.event("order-events", a, v)
    ok(wait(lambda: len(svc.applied) == 1 + 29 * 5), "all are delivered",
       len(svc.applied))
    equal([versions(svc, a) for a in aggs[1:]], [list(range(1, 30))] * 5,
          "in order, once")
    ok(svc.conns == 1, "over one connection", svc.conns)
    ok(max(svc.requests) <= 100, "100 at most in a request")
    broker.event("order-events", new_id(), 1, "order.never_heard_of")
    ok(wait(lambda: len(svc.applied) == 2 + 29 * 5),
       "an unknown type is the service's business")
    equal(s.stop(), 0, "TERM ends it with status 0")
    svc.stop()


def test_commit():
    """Offsets are committed after the answer, not before."""
    svc = service()
    s = begin(svc)
    a = new_id()
    svc.hold.clear()
    for v in range(1, 6):
        broker.event("order-events", a, v)
    ok(wait(lambda: svc.waiting), "a request is with the service")
    s.kill()
    svc.hold.set()
    wait(lambda: not svc.waiting)
    svc.last.pop(a, None)              # a service that lost it all
    svc.applied.clear()
    s.start()
    ok(wait(lambda: versions(svc, a) == [1, 2, 3, 4, 5], 60),
       "kill -9 before the answer: delivered again", versions(svc, a))
    wait(lambda: committed(s))
    n = len(svc.requests)
    s.stop()
    s.start()
    wait(lambda: s.metric("opay_consumer_partitions"), 30)
    broker.event("order-events", a, 6)
    ok(wait(lambda: versions(svc, a)[-1:] == [6], 30), "goes on after a stop")
    equal(sum(svc.requests[n:]), 1, "with nothing delivered twice")
    s.stop()
    svc.stop()


def test_stop():
    """Neither a silent service nor a silent broker holds up the end."""
    svc = service()
    s = begin(svc)
    a = new_id()
    svc.hold.clear()
    broker.event("order-events", a, 1)
    wait(lambda: svc.waiting)
    t0 = time.monotonic()
    ok(s.stop(20) in (0, 3), "TERM with a request at a hung service")
    ok(time.monotonic() - t0 < 17 * SLOW, "ends in bounded time",
       time.monotonic() - t0)
    svc.hold.set()
    wait(lambda: not svc.waiting)
    svc.last.pop(a, None)
    s.start()
    ok(wait(lambda: versions(svc, a)[-1:] == [1], 30), "and loses nothing")
    broker.down()
    wait(lambda: s.http("/readyz")[0] == 503)
    t0 = time.monotonic()
    ok(s.stop(25) in (0, 3), "TERM without a broker")
    note(f"ended in {time.monotonic() - t0:.1f} s")
    broker.back()
    svc.stop()


def test_parked():
    svc = service()
    s = begin(svc)
    bad, good = new_id(), new_id()
    broker.event("order-events", bad, 1)
    wait(lambda: versions(svc, bad) == [1])
    svc.refuse.add(bad)
    for v in (2, 3):
        broker.event("order-events", bad, v)
        broker.event("order-events", good, v - 1)
    ok(wait(lambda: parked() == 2), "a rejected event and its next are parked",
       parked(), s.text()[-2000:])
    ok(wait(lambda: versions(svc, good) == [1, 2]), "other keys flow on")
    got = wait(lambda: dlt(bad))
    ok(got, "a copy is in the dead-letter topic", s.text()[-1500:])
    m = got[0]
    equal((m["key"], json.loads(m["payload"]), m["h"]["ce_id"],
           m["h"]["opay_dlt_outcome"], m["h"]["opay_dlt_reason"],
           m["h"]["opay_dlt_topic"], m["h"]["opay_dlt_group"]),
          (bad, {"version": 2}, f"order-{bad}-2", "rejected", "not today",
           "order-events", f"g{group}"), "with key, value, headers, reason")
    ok(int(m["h"]["opay_dlt_offset"]) >= 0, "and where it was")
    wait(lambda: committed(s))
    ok(wait(lambda: s.metric("opay_parked_keys") == 1
            and s.metric("opay_parked_events") == 2), "the metrics show it")
    ok(wait(lambda: int(db.one("SELECT MAX(attempts) FROM parked_events",
                               "opay_order")) > 2), "it is tried again")
    other = new_id()
    broker.event("order-events", bad, 4)
    broker.event("order-events", other, 1, key=bad)
    ok(wait(lambda: parked() == 4), "later events of the key go behind",
       parked())
    n = s.metric('opay_redrive_events_total{outcome="rejected"}')
    wait(lambda: s.metric('opay_redrive_events_total{outcome="rejected"}')
         > n + 2)
    equal((versions(svc, bad), versions(svc, other)), ([1], []),
          "nothing of the key got through, whatever its aggregate")
    s.stop()
    s.start()
    wait(lambda: s.metric("opay_consumer_partitions"), 30)
    svc.refuse.clear()
    ok(wait(lambda: parked() == 0), "parked events go when they take effect")
    equal([(a, v) for k, a, v in svc.applied if k == bad],
          [(bad, 1), (bad, 2), (bad, 3), (bad, 4), (other, 1)],
          "in order, after a restart too")
    broker.event("order-events", bad, 5)
    ok(wait(lambda: versions(svc, bad) == [1, 2, 3, 4, 5]),
       "the key flows again")
    ok(wait(lambda: s.metric("opay_parked_keys") == 0), "no key is parked")
    s.stop()
    svc.stop()


def test_gap():
    svc = service()
    s = begin(svc)
    a = new_id()
    broker.event("order-events", a, 1)
    broker.event("order-events", a, 3)
    ok(wait(lambda: parked() == 1), "an event after a gap is parked")
    equal(db.one("SELECT reason FROM parked_events", "opay_order"),
          "an earlier version is missing", "with the reason")
    broker.event("order-events", a, 4)
    broker.event("order-events", a, 2)
    ok(wait(lambda: versions(svc, a) == [1, 2, 3, 4]),
       "the missing one behind them mends it", versions(svc, a))
    ok(wait(lambda: parked() == 0), "nothing stays parked")
    s.stop()
    svc.stop()


def test_mixed():
    """Two aggregates of one key in one fetch: the first is refused."""
    svc = service()
    s = begin(svc)
    bad, other, key = new_id(), new_id(), new_id()
    svc.refuse.add(bad)
    svc.fail = 503                     # until all are there
    for i in range(3):
        broker.event("order-events", new_id(), 1)
    broker.event("order-events", bad, 1, key=key)
    broker.event("order-events", other, 1, key=key)
    broker.event("order-events", bad, 2, key=key)
    wait(lambda: s.metric("opay_delivery_backing_off") == 1)
    svc.fail = None
    ok(wait(lambda: parked() == 3), "all of the key are parked", parked())
    n = s.metric('opay_redrive_events_total{outcome="rejected"}')
    wait(lambda: s.metric('opay_redrive_events_total{outcome="rejected"}')
         > n + 1)
    equal(versions(svc, other), [], "the second did not pass the first")
    svc.refuse.clear()
    ok(wait(lambda: parked() == 0), "until it is mended")
    equal([(a, v) for k, a, v in svc.applied if k == key],
          [(bad, 1), (other, 1), (bad, 2)], "then in the topic's order")
    s.stop()
    svc.stop()


def test_malformed():
    svc = service()
    s = begin(svc)
    a = new_id()
    before = len(broker.read("order-events.dlt"))
    cases = {
        "no headers": lambda: broker.write("order-events", a, "{}", {}),
        "no ce_id": lambda: broker.event("order-events", a, 1, ce_id=None),
        "ce_id of another": lambda: broker.event(
            "order-events", a, 1, ce_id=f"order-{new_id()}-1"),
        "ce_sequence 0": lambda: broker.event(
            "order-events", a, 0),
        "ce_subject": lambda: broker.event("order-events", a, 1,
                                           ce_subject="x"),
        "ce_type": lambda: broker.event("order-events", a, 1, "Order\"x"),
        "ce_time": lambda: broker.event("order-events", a, 1,
                                        ce_time="yesterday"),
        "specversion": lambda: broker.event("order-events", a, 1,
                                            ce_specversion="0.3"),
        "not JSON": lambda: broker.write(
            "order-events", a, "{\"a\":", headers(a)),
        "not an object": lambda: broker.write("order-events", a, "[1]",
                                              headers(a)),
        "duplicate member": lambda: broker.write(
            "order-events", a, '{"a":1,"a":2}', headers(a)),
        "another key": lambda: broker.write("order-events", new_id(), "{}",
                                            headers(a)),
        "no key": lambda: broker.write("order-events", None, "{}",
                                       headers(a)),
        "content-type": lambda: broker.event(
            "order-events", a, 1, **{"content-type": "text/plain"}),
    }

    def headers(agg):
        return {"ce_specversion": "1.0", "ce_id": f"order-{agg}-1",
                "ce_source": "/x", "ce_type": "order.paid",
                "ce_subject": agg, "ce_time": "2026-11-22T09:30:00.123Z",
                "ce_partitionkey": agg, "ce_sequence": "1"}

    for fn in cases.values():
        fn()
    broker.event("order-events", a, 1, traceparent="nonsense")
    ok(wait(lambda: versions(svc, a) == [1]), "a good one after them arrives",
       s.text()[-1500:])
    equal(svc.bodies[-1][-1]["traceparent"], None,
          "a bad traceparent is left out")
    ok(wait(lambda: len(broker.read("order-events.dlt"))
            == before + len(cases)), "all others are dead letters",
       len(broker.read("order-events.dlt")) - before, len(cases))
    new = broker.read("order-events.dlt")
    reasons = {m["h"]["opay_dlt_reason"] for m in new
               if m["h"]["opay_dlt_outcome"] == "malformed"}
    ok("header ce_id is missing" in reasons and len(reasons) > 8,
       "each with its reason", reasons)
    equal(s.metric('opay_delivery_events_total{outcome="malformed"}'),
          float(len(cases)), "and counted")
    ok(wait(lambda: committed(s)), "their offsets are committed")
    s.stop()
    svc.stop()


def test_service_down():
    svc = service()
    s = begin(svc)
    a, b = new_id(), new_id()
    svc.stop()
    for v in range(1, 21):
        broker.event("order-events", a, v)
    ok(wait(lambda: s.metric("opay_delivery_backing_off") == 1),
       "service down: deliveries wait")
    wait(lambda: s.metric(
        'opay_delivery_requests_total{result="transport"}') >= 3)
    ok(s.ready(), "the sidecar stays ready")
    equal(parked(), 0, "nothing is parked for it")
    svc = service()
    ok(wait(lambda: versions(svc, a) == list(range(1, 21))),
       "then all is delivered, in order", versions(svc, a))
    svc.fail = 503
    for v in range(1, 6):
        broker.event("order-events", b, v)
    ok(wait(lambda: s.metric(
        'opay_delivery_requests_total{result="status"}') >= 3),
       "503 is tried again")
    svc.fail = None
    ok(wait(lambda: versions(svc, b) == [1, 2, 3, 4, 5]), "until it works")
    equal(parked(), 0, "nothing was parked")
    ok(wait(lambda: s.metric("opay_delivery_backing_off") == 0),
       "no more waiting")
    s.stop()
    svc.stop()


def test_poison():
    """An event that makes the service refuse the whole request."""
    svc = service()
    s = begin(svc)
    bad = new_id()
    good = [new_id() for _ in range(10)]
    svc.fail = 503
    for a in good[:5]:
        broker.event("order-events", a, 1)
    broker.event("order-events", bad, 1)
    for a in good[5:]:
        broker.event("order-events", a, 1)
    svc.poison.add(bad)
    wait(lambda: s.metric("opay_delivery_backing_off") == 1)
    svc.fail = None
    ok(wait(lambda: all(a in svc.last for a in good)), "the others arrive",
       s.text()[-1500:])
    ok(wait(lambda: parked() == 1), "the poisonous one is parked alone")
    ok(wait(lambda: dlt(bad)), "and a dead letter")
    svc.poison.clear()
    ok(wait(lambda: versions(svc, bad) == [1]), "until it can be read")
    s.stop()
    svc.stop()


def test_db_down():
    svc = service()
    s = begin(svc)
    a = new_id()
    db.proc.kill()
    for v in range(1, 4):
        broker.event("order-events", a, v)
    ok(wait(lambda: s.metric("opay_delivery_backing_off") == 1),
       "database down: deliveries wait")
    equal(versions(svc, a), [], "nobody knows whether the key is parked")
    db.start()
    ok(wait(lambda: versions(svc, a) == [1, 2, 3]), "then they go on")
    s.stop()
    svc.stop()


def test_broker_down():
    svc = service()
    s = begin(svc)
    a = new_id()
    broker.event("order-events", a, 1)
    wait(lambda: versions(svc, a) == [1])
    broker.down()
    ok(wait(lambda: s.http("/readyz")[0] == 503), "broker down: not ready")
    broker.back()
    ok(wait(s.ready, 30), "ready again")
    broker.event("order-events", a, 2)
    ok(wait(lambda: versions(svc, a) == [1, 2], 30), "and consuming",
       s.text()[-1500:])
    s.stop()
    svc.stop()


def test_identity():
    """Only the service itself, known to our CA, gets events."""
    svc = service(cert="user")
    global group
    group += 1
    db.schema("order")
    s = sidecar().start()
    ok(wait(lambda: (s.metric(
        'opay_delivery_requests_total{result="transport"}') or 0) >= 2, 30),
       "another service's certificate is refused", s.text()[-1500:])
    equal(svc.requests, [], "before a byte of an event")
    svc.stop()
    svc = service()
    ok(wait(lambda: svc.requests, 30), "the right one is served")
    s.stop()
    svc.stop()


class Consul:
    """Health answers with an index, and blocking queries, if barely."""

    def __init__(self, port):
        self.port = port
        self.index = 10
        self.entries = []
        self.changed = threading.Condition()
        _me = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                index = int(self.path.split("index=")[1].split("&")[0])
                with _me.changed:
                    if index == _me.index:
                        _me.changed.wait(20)
                    data = json.dumps(_me.entries).encode()
                    self.send_response(200)
                    self.send_header("X-Consul-Index", str(_me.index))
                    self.send_header("X-Consul-KnownLeader", "true")
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

        self.server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.05,),
                         daemon=True).start()

    def set(self, *ports):
        with self.changed:
            self.entries = [{
                "Node": {"Node": "n1", "Address": "127.0.0.1"},
                "Service": {"ID": f"order-{p}", "Service": "order",
                            "Address": "127.0.0.1", "Port": p,
                            "Weights": {"Passing": 1, "Warning": 1}},
                "Checks": [{"CheckID": "c", "Status": "passing"}]}
                for p in ports]
            self.index += 1
            self.changed.notify_all()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        with self.changed:
            self.changed.notify_all()


def test_consul():
    svc = service()
    consul = Consul(PORT + 30)
    consul.set(PORT + 20)
    s = begin(svc, target=None, consul_url=f"http://127.0.0.1:{PORT + 30}")
    equal(s.metric("opay_target_instances"), 1.0, "consul names an instance")
    svc2 = Service(PORT + 21, tls).start()
    svc2.last = svc.last
    consul.set(PORT + 21)
    wait(lambda: "target" in s.text() and s.metric("opay_target_instances")
         == 1)
    svc.stop()
    a = new_id()
    broker.event("order-events", a, 1)
    ok(wait(lambda: versions(svc2, a) == [1]), "and then another")
    consul.stop()
    broker.event("order-events", a, 2)
    ok(wait(lambda: versions(svc2, a) == [1, 2]),
       "consul's death leaves the last list in use")
    ok(s.ready(), "and the sidecar ready")
    equal(s.stop(), 0, "it stops at once")
    svc2.stop()


def test_rebalance():
    """A second consumer joins while batches are under way, and leaves."""
    svc = service()
    s1 = begin(svc)
    s2 = sidecar("s2", PORT + 11)
    aggs = [new_id() for _ in range(8)]
    stop = threading.Event()
    sent = [0]

    def feed():
        while not stop.is_set() and sent[0] < 400:
            sent[0] += 1
            for a in aggs:
                broker.event("order-events", a, sent[0])

    t = threading.Thread(target=feed)
    t.start()
    s2.start()
    ok(wait(lambda: s2.metric("opay_consumer_partitions"), 60),
       "a second consumer gets partitions", s2.text()[-1500:])
    n = sent[0]
    wait(lambda: sent[0] > n + 10, 60)
    s2.signal(signal.SIGKILL)
    s2.p.wait()
    wait(lambda: s1.metric("opay_consumer_partitions") == 4, 60)
    ok(s1.metric("opay_consumer_partitions") == 4,
       "when it is killed the first takes them back")
    stop.set()
    t.join()
    want = list(range(1, sent[0] + 1))
    ok(wait(lambda: all(versions(svc, a) == want for a in aggs), 60),
       "every event took effect once, in order",
       [len(versions(svc, a)) for a in aggs], sent[0])
    equal(parked(), 0, "nothing was parked")
    s1.stop()
    svc.stop()


def test_status():
    svc = service()
    s = begin(svc)
    import subprocess
    body = s.http("/metrics")[1]
    r = subprocess.run(["promtool", "check", "metrics"], input=body,
                       capture_output=True, text=True)
    ok(r.returncode == 0 and r.stderr == "", "promtool accepts the metrics",
       r.stdout, r.stderr)
    ok(wait(lambda: s.metric("opay_consumer_lag") is not None),
       "with the consumer lag")
    s.stop()
    svc.stop()


only = sys.argv[1:]
for name, fn in list(globals().items()):
    if name.startswith("test_") and (not only or name[5:] in only):
        note(name)
        fn()

finish()
