#!/usr/bin/python3
"""The publisher: nothing lost, nothing out of order, whatever dies."""

import collections
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *                                          # noqa: E402

db = Database()
broker = Broker()
ids = [new_id() for _ in range(24)]


def fresh():
    db.schema("order")
    db.sql("".join(f"INSERT INTO agg VALUES ({i}, "
                   f"UNHEX('{a.replace('-', '')}'), 0);\n"
                   for i, a in enumerate(ids)), "opay_order")


def sidecar(name="s1", status=PORT + 10, **conf):
    return Sidecar(name, "order", db, broker, status, **conf)


def new_aggregates():
    """Aggregates whose messages no earlier test has written."""
    ids[:] = [new_id() for _ in range(len(ids))]
    fresh()


def writer(n, seed):
    """n transactions over random aggregates, a part of them rolled back."""
    r = random.Random(seed)
    out = ["SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;\n"]
    for _ in range(n):
        g = r.randrange(len(ids))
        out.append("BEGIN;\n")
        out.append(f"SELECT ver + 1 INTO @v FROM agg WHERE n = {g}"
                   " FOR UPDATE;\n")
        for k in range(r.choice([1, 1, 1, 3])):
            out.append(event_sql(ids[g], f"@v + {k}",
                                 data=json.dumps({"v": k})))
        out.append(f"UPDATE agg SET ver = @v + {k} WHERE n = {g};\n")
        if r.random() < 0.3:
            out.append(f"DO SLEEP({r.random() * 0.02:.4f});\n")
        out.append("ROLLBACK;\n" if r.random() < 0.1 else "COMMIT;\n")
    db.sql("".join(out), "opay_order")


def write_all(writers=8, n=120):
    ts = [threading.Thread(target=writer, args=(n, s))
          for s in range(writers)]
    for t in ts:
        t.start()
    return ts


def stored():
    rows = db.sql("SELECT LOWER(HEX(agg_id)), version FROM events"
                  " ORDER BY agg_id, version", "opay_order")
    return [(a, int(v)) for a, v in rows]


def published():
    """Per aggregate the versions in the order of its partition."""
    mine = {a.replace("-", "") for a in ids}
    per = collections.defaultdict(list)
    for m in broker.read("order-events"):
        a = m["h"]["ce_subject"].replace("-", "")
        if a in mine:
            per[a].append(int(m["h"]["ce_sequence"]))
    return per


def judge(name, dups):
    """Lost, reordered (first sight of a version after a later one), twice."""
    want = collections.defaultdict(set)
    for a, v in stored():
        want[a].add(v)

    def complete():
        got = published()
        return all(want[a] <= set(got[a]) for a in want)

    wait(complete, 30, 0.2)
    got = published()
    total = sum(len(v) for v in want.values())
    lost = sum(len(want[a] - set(got[a])) for a in want)
    phantom = sum(len(set(got[a]) - want[a]) for a in got)
    twice = sum(len(got[a]) - len(set(got[a])) for a in got)
    wrong = 0
    for a in got:
        high = 0
        for v in got[a]:
            if v > high + 1:
                wrong += 1
            high = max(high, v)
    note(f"{name}: {total} events, {twice} twice")
    ok(total > 0 and lost == 0, f"{name}: nothing is lost", f"{lost} lost")
    ok(wrong == 0, f"{name}: nothing overtakes within a key", f"{wrong}")
    ok(phantom == 0, f"{name}: nothing that was rolled back", f"{phantom}")
    if not dups:
        ok(twice == 0, f"{name}: nothing is sent twice", f"{twice}")


def position():
    return int(db.one("SELECT position FROM relay_checkpoint",
                      "opay_order") or 0)


def test_concurrent():
    new_aggregates()
    s = sidecar(poll_interval="20ms").start()
    ok(wait(s.ready), "ready", s.text())
    for t in write_all():
        t.join()
    judge("8 writers with rollbacks", False)
    top = int(db.one("SELECT MAX(id) FROM events", "opay_order"))
    ok(wait(lambda: position() == top), "the checkpoint reaches the end")
    ok(s.metric("opay_relay_gaps") > 0, "rolled back ids are gaps for now")
    equal(s.metric("opay_relay_published_total"), len(stored()),
          "published_total counts them")
    equal(s.stop(), 0, "TERM ends it with status 0")
    saved = db.one("SELECT gaps FROM relay_checkpoint", "opay_order")
    ok(json.loads(saved), "gaps are in the checkpoint")


def test_message():
    new_aggregates()
    s = sidecar(poll_interval="20ms").start()
    a, key = ids[0], new_id()
    tp = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    db.sql(event_sql(a, 1, "payment.created", "payment",
                     '{"amount":1000,"name":"\\\\u00e9\\\\ud55c"}', key,
                     trace=f"'{tp}'"), "opay_order")

    def find():
        return [m for m in broker.read("payment-events")
                if m["h"].get("ce_subject") == a]

    got = wait(find)
    ok(got, "an event of the payment topic arrives", s.text())
    m = got[0]
    at = int(db.one("SELECT created_at FROM events", "opay_order"))
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at / 1000))
    equal(m["h"], {
        "ce_specversion": "1.0", "ce_id": f"payment-{a}-1",
        "ce_source": "/opay/order", "ce_type": "payment.created",
        "ce_subject": a, "ce_time": f"{stamp}.{at % 1000:03d}Z",
        "ce_partitionkey": key, "ce_sequence": "1", "traceparent": tp,
        "content-type": "application/json"}, "CloudEvents headers")
    equal(m["key"], key, "the key is the key's UUID text")
    equal(json.loads(m["payload"]), {"amount": 1000, "name": "é한"},
          "the value is the data")
    s.stop()


def test_wakeup():
    new_aggregates()
    s = sidecar(poll_interval="600s").start()
    wait(s.ready)
    wait(lambda: s.role() == "leader")
    db.sql(event_sql(ids[0], 1), "opay_order")
    time_0 = time.monotonic()
    s.notify(db)
    ok(wait(lambda: s.metric("opay_relay_published_total") == 1, 5, 0.005),
       "a datagram wakes the leader")
    note(f"woken and published in {(time.monotonic() - time_0) * 1000:.0f} ms")
    ok(os.stat(os.path.join(TMP, "relay-order.sock")).st_mode & 0o666
       == 0o666, "any service user may wake it")
    s.stop()
    ok(not os.path.exists(os.path.join(TMP, "relay-order.sock")),
       "a leader that stops takes its socket away")


def test_kill():
    new_aggregates()
    s = sidecar(poll_interval="20ms", checkpoint_interval="50ms").start()
    wait(s.ready)
    ts = write_all(8, 160)
    kills = 0
    while any(t.is_alive() for t in ts) or kills < 3:
        before = s.metric("opay_relay_published_total") or 0
        wait(lambda: (s.metric("opay_relay_published_total") or 0)
             > before + 40 or not any(t.is_alive() for t in ts), 10)
        s.kill()
        kills += 1
        s.start()
        wait(s.ready)
        if kills >= 6:
            break
    for t in ts:
        t.join()
    note(f"{kills} times kill -9")
    ok(kills >= 3, "the publisher was killed at work")
    judge("kill -9", True)
    s.stop()


def test_two():
    new_aggregates()
    s1 = sidecar("s1", PORT + 10, poll_interval="20ms").start()
    ok(wait(lambda: s1.role() == "leader"), "the first leads")
    s2 = sidecar("s2", PORT + 11, poll_interval="20ms").start()
    ok(wait(lambda: s2.role() == "standby"), "the second stands by")
    ok(wait(s2.ready), "a standby is ready")
    ts = write_all(6, 120)
    wait(lambda: (s1.metric("opay_relay_published_total") or 0) > 100)
    equal(s2.metric("opay_relay_published_total"), 0.0,
          "a standby publishes nothing")
    s1.kill()
    t0 = time.monotonic()
    ok(wait(lambda: s2.role() == "leader", 10), "it takes over after kill -9")
    note(f"takeover in {time.monotonic() - t0:.2f} s")
    for t in ts:
        t.join()
    judge("takeover", True)
    s1.start()
    ok(wait(lambda: s1.role() == "standby"), "the killed one stands by now")
    equal(s2.stop(), 0, "the leader stops")
    ok(wait(lambda: s1.role() == "leader", 10), "and the other leads again")
    epoch = int(db.one("SELECT epoch FROM relay_checkpoint", "opay_order"))
    equal(epoch, 3, "each leadership is an epoch")
    s1.stop()


def test_zombie():
    """A leader that was stopped and goes on cannot move the checkpoint."""
    new_aggregates()
    s1 = sidecar("s1", PORT + 10, poll_interval="20ms").start()
    wait(lambda: s1.role() == "leader")
    db.sql(event_sql(ids[0], 1), "opay_order")
    wait(lambda: position() > 0)
    db.sql("UPDATE relay_checkpoint SET epoch = epoch + 7, position = 0,"
           " gaps = '[]'; " + event_sql(ids[0], 2), "opay_order")
    ok(wait(lambda: (s1.metric("opay_relay_fenced_total") or 0) > 0),
       "a checkpoint of an old epoch is refused")
    ok(wait(lambda: s1.metric("opay_relay_epoch") == 9
            and s1.role() == "leader"), "it leads again in a new epoch")
    ok(wait(lambda: position() > 0), "from the checkpoint of the other")
    judge("fenced leader", True)
    s1.stop()


def test_hung():
    """A leader that hangs loses the lock, and cannot come back."""
    new_aggregates()
    s1 = sidecar("s1", PORT + 10, poll_interval="20ms").start()
    wait(lambda: s1.role() == "leader")
    s2 = sidecar("s2", PORT + 11, poll_interval="20ms").start()
    wait(lambda: s2.role() == "standby")
    db.sql(event_sql(ids[0], 1), "opay_order")
    wait(lambda: position() > 0)
    s1.signal(signal.SIGSTOP)
    t0 = time.monotonic()
    ok(wait(lambda: s2.role() == "leader", 40), "the standby takes over")
    note(f"in {time.monotonic() - t0:.0f} s")
    db.sql(event_sql(ids[0], 2) + event_sql(ids[1], 1), "opay_order")
    wait(lambda: s2.metric("opay_relay_published_total") == 2)
    s1.signal(signal.SIGCONT)
    ok(wait(lambda: s1.role() == "standby"), "the first sees it is over")
    db.sql(event_sql(ids[0], 3), "opay_order")
    judge("hung leader", True)
    equal(s1.metric("opay_relay_published_total"), 1.0,
          "it has published nothing more")
    s1.stop()
    s2.stop()


def test_gaps():
    new_aggregates()
    s = sidecar(poll_interval="20ms", max_gap_age="1500ms").start()
    wait(s.ready)
    c = db.client("opay_order")
    c.stdin.write("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED;"
                  "BEGIN; " + event_sql(ids[0], 1) + "SELECT 'in';\n")
    c.stdin.flush()
    c.stdout.readline()
    db.sql("BEGIN; " + event_sql(ids[1], 1) + event_sql(ids[1], 2)
           + "ROLLBACK; " + event_sql(ids[2], 1), "opay_order")
    ok(wait(lambda: s.metric("opay_relay_published_total") == 1),
       "an open transaction does not hold up the others")
    equal(s.metric("opay_relay_gaps"), 3.0, "its id and two rolled back ones")
    ok(wait(lambda: s.metric("opay_relay_gaps_abandoned_total") == 2),
       "rolled back ids are given up with time", s.text()[-1500:])
    wait(lambda: "has kept id" in s.text(), 6)
    equal(s.metric("opay_relay_gaps"), 1.0,
          "an id that a transaction still holds is not")
    db.sql(event_sql(ids[2], 2), "opay_order")
    wait(lambda: s.metric("opay_relay_published_total") == 2)
    c.stdin.write("COMMIT;\n" + event_sql(ids[0], 2))
    c.stdin.close()
    c.wait()
    ok(wait(lambda: s.metric("opay_relay_published_total") == 4),
       "it is published when it is committed at last")
    equal(s.metric("opay_relay_gaps"), 0.0, "no gap is left")
    judge("late commit", False)
    s.stop()


def test_many_gaps():
    """More gaps than one statement takes, and rows that fill them late."""
    new_aggregates()
    s = sidecar(poll_interval="20ms").start()
    wait(s.ready)
    sql = []
    for i in range(1200):
        sql.append(event_sql(new_id(), 1, eid=2 * i + 2))
    db.sql("".join(sql), "opay_order")
    ok(wait(lambda: s.metric("opay_relay_gaps") == 1200),
       "1200 gaps are tracked", s.metric("opay_relay_gaps"))
    equal(s.stop(), 0, "stop with gaps")
    s.start()
    wait(s.ready)
    sql = ["BEGIN;"]
    for i in range(1200):
        a = ids[i % len(ids)]
        sql.append(event_sql(a, i // len(ids) + 1, eid=2 * i + 1))
    db.sql("".join(sql) + "COMMIT;", "opay_order")
    ok(wait(lambda: s.metric("opay_relay_published_total") == 1200),
       "and filled after a restart", s.metric("opay_relay_published_total"))
    equal(s.metric("opay_relay_gaps"), 0.0, "none is left")
    got = published()
    equal([got[a.replace("-", "")] for a in ids],
          [list(range(1, 51))] * len(ids), "in order, once")
    s.stop()


def test_backfill():
    """The version check finds what the id order could not."""
    new_aggregates()
    s = sidecar(poll_interval="20ms", max_gap_age="200ms").start()
    wait(s.ready)
    a = ids[0]
    db.sql(event_sql(a, 1, eid=10), "opay_order")
    ok(wait(lambda: s.metric("opay_relay_gaps_abandoned_total") == 9),
       "ids 1..9 are given up")
    db.sql(event_sql(a, 2, eid=4) + event_sql(a, 3, eid=5), "opay_order")
    db.sql(event_sql(a, 4, eid=11), "opay_order")
    ok(wait(lambda: s.metric("opay_relay_published_total") == 4),
       "a jump in versions brings the missed ones")
    equal(s.metric("opay_relay_backfilled_total"), 2.0, "two of them")
    equal(published()[a.replace("-", "")], [1, 2, 3, 4], "in order")
    s.stop()
    # the same when the leader's memory does not reach back
    db.sql(event_sql(ids[1], 1, eid=20), "opay_order")
    s.start()
    ok(wait(lambda: (s.metric("opay_relay_gaps_abandoned_total") or 0) == 8),
       "ids 12..19 are given up")
    s.stop()
    s.start()
    wait(s.ready)
    db.sql(event_sql(ids[1], 2, eid=21) + event_sql(a, 5, eid=22),
           "opay_order")
    wait(lambda: s.metric("opay_relay_published_total") == 2)
    equal(s.metric("opay_relay_backfilled_total"), 0.0,
          "cold aggregates that miss nothing are left alone")
    judge("backfill", False)
    s.stop()


def test_broker_down():
    new_aggregates()
    s = sidecar(poll_interval="20ms").start()
    wait(s.ready)
    db.sql(event_sql(ids[0], 1) + "UPDATE agg SET ver = 1 WHERE n = 0",
           "opay_order")
    wait(lambda: s.metric("opay_relay_published_total") == 1)
    broker.down()
    ok(wait(lambda: s.http("/readyz")[0] == 503), "not ready without broker")
    equal(s.http("/livez")[0], 200, "but alive")
    for t in write_all(4, 60):
        t.join()
    ok(wait(lambda: s.metric("opay_relay_lag_events") > 0
            and s.metric("opay_relay_oldest_age_seconds") > 0),
       "the lag shows")
    before = position()
    s.kill()                           # with all of them handed over
    s.start()
    wait(lambda: (s.metric("opay_relay_inflight") or 0) > 0)
    broker.back()
    ok(wait(s.ready, 30), "ready again, killed meanwhile")
    judge("broker down", False)
    ok(wait(lambda: position() > before), "the checkpoint moves on")
    ok(wait(lambda: s.metric("opay_relay_lag_events") == 0), "no lag is left")
    broker.down()
    db.sql(event_sql(ids[0], 1000), "opay_order")
    wait(lambda: (s.metric("opay_relay_inflight") or 0) > 0, 5)
    t0 = time.monotonic()
    ok(s.stop(25) in (0, 3), "it stops while the broker is away")
    note(f"stopped in {time.monotonic() - t0:.1f} s")
    broker.back()
    db.sql("DELETE FROM events WHERE version = 1000", "opay_order")


def test_db_down():
    new_aggregates()
    s = sidecar(poll_interval="20ms").start()
    wait(s.ready)
    db.sql(event_sql(ids[0], 1), "opay_order")
    wait(lambda: s.metric("opay_relay_published_total") == 1)
    db.proc.kill()
    ok(wait(lambda: s.http("/readyz")[0] == 503), "not ready without database")
    db.start()
    db.sql(event_sql(ids[0], 2) + event_sql(ids[1], 1), "opay_order")
    ok(wait(lambda: s.role() == "leader" and s.ready()),
       "leads again when the database is back")
    ok(wait(lambda: s.metric("opay_relay_published_total") >= 3), "goes on")
    judge("database killed", True)
    s.stop()


def test_status():
    new_aggregates()
    s = sidecar(poll_interval="20ms").start()
    wait(s.ready)
    status, body, h = s.http("/readyz")
    equal((status, h["Content-Type"]), (200, "application/health+json"),
          "/readyz")
    equal(json.loads(body)["status"], "pass", "its body says pass")
    equal(s.http("/nope")[0], 404, "an unknown path")
    equal(s.http("/nope")[2]["Content-Type"], "application/problem+json",
          "is a problem")
    db.sql(event_sql(ids[0], 1), "opay_order")
    wait(lambda: s.metric("opay_relay_published_total") == 1)
    status, body, h = s.http("/metrics")
    equal(h["Content-Type"], "text/plain; version=0.0.4; charset=utf-8",
          "/metrics is Prometheus text")
    r = subprocess.run(["promtool", "check", "metrics"], input=body,
                       capture_output=True, text=True)
    ok(r.returncode == 0 and r.stderr == "", "promtool accepts it",
       r.stdout, r.stderr)
    s2 = sidecar("s2", PORT + 10)
    s2.start()
    ok(wait(lambda: not s2.alive()), "a taken port ends the second")
    ok("status_listen" in s2.text(), "and names the key", s2.text())
    ok("relay-pw" not in s.text(), "no secret in the log")
    s.stop()


only = sys.argv[1:]
for name, fn in list(globals().items()):
    if name.startswith("test_") and (not only or name[5:] in only):
        note(name)
        fn()

finish()
