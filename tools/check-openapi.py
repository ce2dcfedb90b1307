#!/usr/bin/env python3
"""Checks api/openapi.yaml: its form, and that it says what the code says.

  tools/check-openapi.py [FILE]

The routes are in three places: the tables of the services, the gateway's
opay_route lines, and the document.  All three must name the same methods and
paths, and the same access.  Each line printed is one fault.
"""

import glob
import os
import re
import sys

import jsonschema
import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
METHODS = ('get', 'put', 'post', 'delete', 'patch', 'head', 'options')

# what the gateway answers by itself, in conf/gateway.conf.in
EDGE = {'/openapi.yaml', '/livez', '/readyz', '/healthz'}

faults = []


def fault(text, *args):
    faults.append(text % args)


def routes_of_services():
    """(method, path) -> access, out of the tables; internal ones left out."""

    row = re.compile(r'\{\s*"([A-Z]+)",\s*"(/[^"]*)",\s*NGX_OPAY_([A-Z]+)')
    found = {}

    for name in glob.glob(ROOT + '/ngx_opay_*/ngx_opay_*_module.c'):
        with open(name) as f:
            for method, path, access in row.findall(f.read()):
                if access != 'INTERNAL':
                    found[method.lower(), path] = access.lower()

    return found


def routes_of_gateway():
    row = re.compile(r'^\s*opay_route\s+"([^"]+)"\s+"?(/[^\s"]*)"?\s+(\w+);',
                     re.M)
    found = {}

    with open(ROOT + '/conf/include/routes.conf.in') as f:
        for methods, path, access in row.findall(f.read()):
            for method in re.split(r'[ ,]+', methods):
                found[method.lower(), path] = access

    return found


def operations(doc):
    for path, item in doc['paths'].items():
        for method, op in item.items():
            if method in METHODS:
                yield method, path, item, op


def access_of(doc, op):
    if op.get('security', doc.get('security')) == []:
        return 'public'

    return op.get('x-opay-access', 'user')


def check_routes(doc):
    services = routes_of_services()
    gateway = routes_of_gateway()
    paper = {(m, p): access_of(doc, op) for m, p, _, op in operations(doc)}

    if not services or not gateway:
        fault('no routes found in the code: the tables look different now')
        return

    for key in sorted(set(services) | set(gateway) | set(paper)):
        said = {'the gateway': gateway.get(key),
                'api/openapi.yaml': paper.get(key)}

        if key[1] not in EDGE:
            said['its service'] = services.get(key)

        if len(set(said.values())) > 1:
            fault('%s %s: %s', key[0].upper(), key[1], ', '.join(
                '%s says %s' % (who, what or 'nothing')
                for who, what in sorted(said.items())))


def resolve(doc, ref):
    node = doc

    for part in ref.lstrip('#/').split('/'):
        if not isinstance(node, dict) or part not in node:
            return None
        node = node[part]

    return node


def check_refs(doc, node, at, used):
    if isinstance(node, dict):
        ref = node.get('$ref')

        if ref is not None:
            used.add(ref)
            if resolve(doc, ref) is None:
                fault('%s: %s leads nowhere', at, ref)

        for key, value in node.items():
            check_refs(doc, value, '%s/%s' % (at, key), used)

    elif isinstance(node, list):
        for i, value in enumerate(node):
            check_refs(doc, value, '%s/%d' % (at, i), used)


def deref(doc, node):
    while isinstance(node, dict) and '$ref' in node:
        node = resolve(doc, node['$ref']) or {}

    return node


def check_operation(doc, method, path, item, op, ids):
    at = '%s %s' % (method.upper(), path)
    named = op.get('operationId')

    if not named or named in ids:
        fault('%s: operationId %s is missing or used twice', at, named)
    ids.add(named)

    params = [deref(doc, p) for p in
              item.get('parameters', []) + op.get('parameters', [])]
    inside = {p.get('name') for p in params if p.get('in') == 'path'}

    if inside != set(re.findall(r'\{(\w+)\}', path)):
        fault('%s: path parameters are %s', at, sorted(inside))

    for p in params:
        if 'schema' not in p or (p['in'] == 'path' and not p.get('required')):
            fault('%s: parameter %s lacks schema or required', at, p['name'])

    if (method in ('put', 'post')) != ('requestBody' in op):
        fault('%s: requestBody', at)

    answers = op.get('responses', {})

    if not any(str(s).startswith('2') for s in answers):
        fault('%s: no answer that is good', at)

    for status, answer in answers.items():
        answer = deref(doc, answer)

        if not isinstance(status, str) or 'description' not in answer:
            fault('%s: answer %s is not well formed', at, status)

        kinds = set(answer.get('content', {}))
        error = str(status)[0] in '45d'

        if error and not kinds & {'application/problem+json',
                                  'application/health+json'}:
            fault('%s: answer %s is no problem+json', at, status)

        if not error and 'X-Request-Id' not in answer.get('headers', {}):
            fault('%s: answer %s lacks X-Request-Id', at, status)


def check_examples(doc, node, at):
    """Every media type's example fits its schema."""

    if isinstance(node, list):
        for i, value in enumerate(node):
            check_examples(doc, value, '%s/%d' % (at, i))
        return

    if not isinstance(node, dict):
        return

    if 'example' in node and 'schema' in node:
        schema = dict(node['schema'], components=doc['components'])
        found = jsonschema.Draft202012Validator(schema)

        for e in found.iter_errors(node['example']):
            fault('%s/example: %s', at, e.message)

    for key, value in node.items():
        check_examples(doc, value, '%s/%s' % (at, key))


def check_codes(doc):
    """The codes of the document are those of lib/opay_problem.c."""

    with open(ROOT + '/lib/opay_problem.c') as f:
        code = set(re.findall(r'\{ \d+, "([a-z_]+)"', f.read()))

    paper = set(doc['components']['schemas']['ProblemCode']['enum'])

    for name in sorted(code ^ paper):
        fault('problem code %s is only in %s', name,
              'the code' if name in code else 'api/openapi.yaml')


def main():
    name = sys.argv[1] if len(sys.argv) > 1 else ROOT + '/api/openapi.yaml'

    with open(name) as f:
        doc = yaml.safe_load(f)

    if not re.match(r'3\.1\.\d+$', str(doc.get('openapi'))):
        fault('openapi is not 3.1')

    used, ids = set(), set()
    check_refs(doc, doc, '#', used)

    if faults:                             # nothing else can be trusted
        print('\n'.join(faults))
        return 1

    for kind, parts in doc['components'].items():
        for part in parts:
            ref = '#/components/%s/%s' % (kind, part)
            if kind != 'securitySchemes' and ref not in used:
                fault('%s is not used', ref)

    for schema in doc['components']['schemas'].values():
        jsonschema.Draft202012Validator.check_schema(schema)

    for method, path, item, op in operations(doc):
        check_operation(doc, method, path, item, op, ids)

    check_examples(doc, doc['paths'], '#/paths')
    check_examples(doc, doc['components']['responses'], '#/components')
    check_routes(doc)
    check_codes(doc)

    for text in faults:
        print(text)

    return 1 if faults else 0


if __name__ == '__main__':
    sys.exit(main())
