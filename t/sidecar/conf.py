#!/usr/bin/python3
"""The configuration file: every mistake is named with file, line and key."""

import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from harness import *                                          # noqa: E402

SIDECAR = os.path.join(BIN, "opay-sidecar")
secret = os.path.join(TMP, "pw")
empty = os.path.join(TMP, "empty")
conf = os.path.join(TMP, "s.conf")

with open(secret, "w") as f:
    f.write("s3cret-value\n")
open(empty, "w").close()

GOOD = ["service = order", "db_socket = /nowhere.sock", "db_user = u",
        f"db_password_file = {secret}", "db_name = opay_order",
        "kafka_bootstrap = 127.0.0.1:1", "status_listen = 127.0.0.1:9193"]


def run(lines, *args):
    with open(conf, "w") as f:
        f.write("\n".join(lines) + "\n")
    return subprocess.run([SIDECAR, *(args or ("-t",)), "-c", conf],
                          capture_output=True, text=True, timeout=20)


def bad(more, want, drop=None):
    lines = [x for x in GOOD if not drop or not x.startswith(drop + " ")]
    r = run(lines + ([more] if more else []))
    where = f"opay-sidecar: {conf}" + (f":{len(lines) + 1}: " if more
                                       else ": ")
    ok(r.returncode == 2 and r.stderr.startswith(where + want),
       f"refused: {more or 'no ' + drop}", r.returncode, r.stderr.strip(),
       where + want)
    if "s3cret" in r.stderr + r.stdout:
        ok(False, "the secret is in the message")


r = run(GOOD)
equal((r.returncode, r.stdout), (0, f"opay-sidecar: {conf} is fine\n"),
      "a good file")
r = run(["# comment", "", "  "] + [x.replace(" = ", "=") for x in GOOD]
        + ["topics =", "\tlog_format =  json  "])
equal(r.returncode, 0, "comments, blanks, no topics")

for key in ["service", "db_user", "db_password_file", "db_name",
            "kafka_bootstrap", "status_listen"]:
    bad(None, f'"{key}" is missing', key)

bad(None, 'one of "db_socket" and "db_host" is needed', "db_socket")
bad("speed = 11", 'unknown key "speed"')
bad("just text", '"key = value" is expected')
bad("service = user", '"service" is duplicate, first in line 1')
bad("group =", '"group" has no value')
bad("service = Order!", 'invalid value "Order!" of "service"', "service")
bad("db_port = 70000", 'invalid port "70000" of "db_port"')
bad("poll_interval = 5", 'invalid value "5" of "poll_interval"')
bad("poll_interval = -5s", 'invalid value "-5s" of "poll_interval"')
bad("poll_interval = 0s", 'value "0s" of "poll_interval" is out of range')
bad("shutdown_timeout = 10ms", 'value "10ms" of "shutdown_timeout" is out')
bad("retry_max = 2000m", 'value "2000m" of "retry_max" is out of range')
bad("status_listen = localhost:1", 'invalid address "localhost:1" of '
    '"status_listen"', "status_listen")
bad("status_listen = 127.0.0.1:0", 'invalid address "127.0.0.1:0"',
    "status_listen")
bad("target = 127.0.0.1", 'invalid address "127.0.0.1" of "target"')
bad("consul_url = consul:8500", 'invalid value "consul:8500" of '
    '"consul_url"')
bad("topics = a b/c", 'invalid topic "b/c" of "topics"')
bad("log_level = loud", 'invalid value "loud" of "log_level"')
bad("log_format = xml", 'invalid value "xml" of "log_format"')
bad("tls_ca = /nowhere.pem", 'cannot read the file of "tls_ca" '
    '(/nowhere.pem): No such file or directory')
bad("db_password_file = /nowhere", 'cannot read the file of '
    '"db_password_file" (/nowhere): No such file', "db_password_file")
bad(f"db_password_file = {empty}", 'the file of "db_password_file" '
    f'({empty}) is empty', "db_password_file")
bad("kafka.compression = lots", '"kafka.compression":')
bad("kafka.no.such = 1", '"kafka.no.such": No such configuration property')
bad("x" * 3000, "the line is too long")

r = run(GOOD + ["topics = order-events"])
ok(r.returncode == 2 and '"topics" needs "consul_url" or "target"'
   in r.stderr, "topics without a target", r.stderr)
r = run(GOOD + ["topics = order-events", "target = 127.0.0.1:1"])
ok(r.returncode == 2 and '"topics" needs "tls_ca", "tls_cert" and "tls_key"'
   in r.stderr, "topics without certificates", r.stderr)

r = subprocess.run([SIDECAR, "-c", "/nowhere.conf"], capture_output=True,
                   text=True)
equal((r.returncode, r.stderr), (2, "opay-sidecar: /nowhere.conf: cannot "
                                 "open: No such file or directory\n"),
      "no file")
for args in ([], ["-x"], ["-c"], ["-c", conf, "more"]):
    r = subprocess.run([SIDECAR, *args], capture_output=True, text=True)
    equal(r.returncode, 2, f"usage: {args}")
r = subprocess.run([SIDECAR, "-v"], capture_output=True, text=True)
ok(r.returncode == 0 and r.stdout.startswith("opay-sidecar "), "-v")

finish()
