#!/usr/bin/python3
"""The JSON Schemas of the events.

Without arguments: every type of lib/opay_event.c has a schema that fits its
table row, and the check below can fail.  With "-": reads what `kcat -C -J`
prints and checks headers and data of each message against its schema, the
way the end-to-end tests use it.
"""

import datetime
import json
import os
import re
import sys
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DIR = os.path.join(ROOT, "api", "events")

KNOWN = {"$schema", "$id", "title", "description", "x-topic", "x-aggregate",
         "x-key", "type", "properties", "required", "enum", "const",
         "pattern", "format", "minimum", "maximum", "items", "minItems",
         "maxItems"}

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool,
         "null": type(None)}


def is_type(v, name):
    if name == "integer":
        return isinstance(v, int) and not isinstance(v, bool)
    return isinstance(v, TYPES[name])


def is_format(v, name):
    try:
        if name == "uuid":
            return str(uuid.UUID(v)) == v.lower()
        if name == "date-time":
            datetime.datetime.fromisoformat(v)
            return re.match(r"\d{4}-\d\d-\d\dT.*(Z|[+-]\d\d:\d\d)$", v)
    except ValueError:
        return False
    raise KeyError(name)


def check(schema, v, at=""):
    """What is wrong with v, as a list of texts."""
    bad = []
    for k in schema:
        if k not in KNOWN:
            raise KeyError(f"{k}: not a word this checker knows")
    t = schema.get("type")
    if t and not any(is_type(v, n) for n in
                     ([t] if isinstance(t, str) else t)):
        return [f"{at or '/'}: {v!r} is not {t}"]
    if "const" in schema and (v != schema["const"]
                              or type(v) is not type(schema["const"])):
        bad.append(f"{at}: {v!r} is not {schema['const']!r}")
    if "enum" in schema and v not in schema["enum"]:
        bad.append(f"{at}: {v!r} is none of {schema['enum']}")
    if isinstance(v, str):
        if "pattern" in schema and not re.search(schema["pattern"], v):
            bad.append(f"{at}: {v!r} does not match")
        if "format" in schema and not is_format(v, schema["format"]):
            bad.append(f"{at}: {v!r} is no {schema['format']}")
    if isinstance(v, int) and not isinstance(v, bool):
        if v < schema.get("minimum", v) or v > schema.get("maximum", v):
            bad.append(f"{at}: {v} is out of range")
    if isinstance(v, list):
        if not schema.get("minItems", 0) <= len(v) \
                <= schema.get("maxItems", len(v)):
            bad.append(f"{at}: {len(v)} items")
        for i, x in enumerate(v):
            bad += check(schema.get("items", {}), x, f"{at}/{i}")
    if isinstance(v, dict):
        for k in schema.get("required", []):
            if k not in v:
                bad.append(f"{at}/{k}: is missing")
        for k, sub in schema.get("properties", {}).items():
            if k in v:
                bad += check(sub, v[k], f"{at}/{k}")
    return bad


def load():
    out = {}
    for name in sorted(os.listdir(DIR)):
        with open(os.path.join(DIR, name)) as f:
            out[name.removesuffix(".schema.json")] = json.load(f)
    return out


def check_message(schemas, m):
    h = m.get("headers") or []
    h = dict(zip(h[::2], h[1::2]))
    bad = check(schemas["headers"], h, "headers")
    schema = schemas.get(h.get("ce_type"))
    if schema is None:
        return bad + [f"no schema for {h.get('ce_type')}"]
    data = json.loads(m["payload"])
    bad += check(schema, data)
    want = (f"{schema['x-aggregate']}-{h.get('ce_subject')}-"
            f"{h.get('ce_sequence')}")
    if h.get("ce_id") != want:
        bad.append(f"ce_id {h.get('ce_id')} is not {want}")
    if m["topic"] != schema["x-topic"]:
        bad.append(f"{h['ce_type']} on {m['topic']}")
    if not m["key"] == h.get("ce_partitionkey") == data.get(schema["x-key"]):
        bad.append(f"key {m['key']} is not {schema['x-key']}")
    return bad


def from_stdin():
    n = failed = 0
    schemas = load()
    for line in sys.stdin:
        m = json.loads(line)
        n += 1
        bad = check_message(schemas, m)
        failed += bool(bad)
        for text in bad:
            print(f"not ok {m['topic']}[{m['partition']}]@{m['offset']}: "
                  f"{text}")
    print(f"{'not ok' if failed or not n else 'ok'} 1 - {n} messages, "
          f"{failed} do not fit their schema\n1..1")
    sys.exit(1 if failed or not n else 0)


def table():
    """type -> (topic, aggregate) out of lib's sources."""
    with open(os.path.join(ROOT, "lib", "opay_event.h")) as f:
        names = dict(re.findall(r'#define (OPAY_\w+)\s+"([^"]+)"', f.read()))
    with open(os.path.join(ROOT, "lib", "opay_event.c")) as f:
        src = f.read().split("opay_events[] = {", 1)[1].split("};", 1)[0]
    rows = {}
    for kind, name in re.findall(r"opay_event_(order|payment)\((\w+)\)",
                                 src):
        rows[names[name]] = (kind + "-events", kind)
    for name, topic, agg in re.findall(r"\{ (\w+), (\w+),\s+(\w+) \}", src):
        rows[names[name]] = (names[topic], names[agg])
    return rows


def main():
    sys.path.insert(0, HERE)
    from harness import equal, ok, finish
    schemas = load()
    rows = table()
    ok(len(rows) == 25, "25 types in the table", len(rows))
    equal(set(schemas) - {"headers"}, set(rows), "each has a schema")
    for name, (topic, agg) in rows.items():
        s = schemas[name]
        ok(s["x-topic"] == topic and s["x-aggregate"] == agg
           and s["title"] == name and s["$id"] == f"urn:opay:event:{name}"
           and s["x-key"] in s["required"]
           and set(s["required"]) <= set(s["properties"])
           and "additionalProperties" not in s
           and check(s, {}), f"{name}: fits the table, and checks")
    ids = ["01930000-0000-7000-8000-00000000000" + c for c in "12"]
    good = {"userId": ids[0], "sessionId": ids[1], "reason": "logout",
            "revokedAt": "2026-11-22T09:30:00.123Z", "more": 1}
    s = schemas["auth.session_revoked"]
    equal(check(s, good), [], "unknown members are fine")
    for k, v in {"userId": "x", "reason": 5, "revokedAt": "now"}.items():
        ok(check(s, dict(good, **{k: v})), f"{k} = {v!r} is refused")
    msg = {"topic": "auth-events", "key": ids[0], "headers": [
        "ce_specversion", "1.0", "ce_id", f"session-{ids[1]}-1",
        "ce_source", "/opay/auth", "ce_type", "auth.session_revoked",
        "ce_subject", ids[1], "ce_time", "2026-11-22T09:30:00.123Z",
        "ce_partitionkey", ids[0], "ce_sequence", "1", "content-type",
        "application/json"], "payload": json.dumps(good)}
    equal(check_message(schemas, msg), [], "a whole message")
    ok(check_message(schemas, dict(msg, topic="user-events")),
       "on another topic is refused")
    ok(check_message(schemas, dict(msg, key=ids[1])),
       "under another key is refused")
    finish()


if sys.argv[1:] == ["-"]:
    from_stdin()
else:
    main()
