"""Tables out of rounds.tsv: medians with the least and the most of the
rounds, and ratios of what ran side by side."""

import collections
import statistics
import sys


def read(path):
    cells = collections.OrderedDict()
    for line in open(path):
        part, cell, variant, _, rest = line.rstrip('\n').split('\t')
        values = dict(p.split('=', 1) for p in rest.split()
                      if '=' in p)
        cells.setdefault((part, cell, variant), []).append(values)
    return cells


cells = read(sys.argv[1])


def numbers(key, name):
    if name == 'cpu':
        return [sum(float(x) for x in v['cpu_us'].split(','))
                for v in cells[key]]
    return [float(v[name]) for v in cells[key]]


def spread(key, name, digits=0):
    v = numbers(key, name)
    return '%.*f (%.*f-%.*f)' % (digits, statistics.median(v), digits, min(v),
                                 digits, max(v))


def median(key, name):
    return statistics.median(numbers(key, name))


def ratio(key, peer, name='rate'):
    """Round by round, since those ran one after the other."""

    a, b = numbers(key, name), numbers(peer, name)
    v = [x / y for x, y in zip(a, b) if y]
    return '%.2f (%.2f-%.2f)' % (statistics.median(v), min(v), max(v))


def table(title, head, rows):
    print('\n' + title + '\n')
    print('| ' + ' | '.join(head) + ' |')
    print('|' + '---|' * len(head))
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')


def keys(part):
    return [k for k in cells if k[0] == part]


EDGE = {
    'plain': 'plain nginx, proxy_pass over HTTP',
    'gateway-1': 'gateway, 1 token, over HTTP',
    'gateway-1000': 'gateway, 1000 tokens, over HTTP',
    'plain-mtls': 'plain nginx, proxy_pass over mTLS',
    'gateway-mtls-1': 'gateway, 1 token, over mTLS',
    'gateway-mtls-1000': 'gateway, 1000 tokens, over mTLS',
}

STACK = {
    'plain': 'plain nginx, proxy_pass over mTLS',
    'gateway-1': 'gateway of the stack, 1 token',
    'gateway-1000': 'gateway of the stack, 1000 tokens',
}

WRITES = {
    'bare': 'bare client, same SQL, one order a transaction',
    'bare-16': 'bare client, 16 orders a transaction',
    'service': 'order service (mTLS)',
    'gateway': 'order service through the gateway',
}

READS = {
    'bare': 'bare client, the three prepared SELECTs',
    'service': 'order service (mTLS)',
    'gateway': 'order service through the gateway',
}


def edge(part, title, names):
    rows = []
    for key in keys(part):
        peer = (part, key[1],
                'plain-mtls' if 'mtls' in key[2] else 'plain')
        rows.append([names[key[2]], spread(key, 'rate'),
                     spread(key, 'p50_ms', 2), spread(key, 'p99_ms', 2),
                     '1' if key == peer else ratio(key, peer),
                     spread(key, 'cpu', 1)])
    if rows:
        table(title, ['32 clients', 'requests/s', 'p50 ms', 'p99 ms',
                      'of plain', 'CPU us/request'], rows)


def service(part, title, unit, names):
    rows = []
    for key in keys(part):
        peer = (part, key[1], 'bare')
        rows.append([key[1], names[key[2]], spread(key, 'rate'),
                     spread(key, 'p50_ms', 2), spread(key, 'p99_ms', 2),
                     '1' if key == peer else ratio(key, peer),
                     spread(key, 'cpu') if key[2] != 'bare-16' else '%.0f' % (
                         median(key, 'cpu') / 16)])
    if rows:
        table(title, ['clients', 'how', unit, 'p50 ms', 'p99 ms', 'of bare',
                      'CPU us each'], rows)


def paid():
    rows = [[{'client': 'seen by the client, which polls',
              'clocks': 'by the servers\' own clocks'}[k[2]],
             cells[k][0]['n']] + [cells[k][0][n] for n in
                                  ('p50_ms', 'p99_ms', 'max_ms')]
            for k in keys('paid')]
    if rows:
        table('From the payment\'s answer to PAID, one order at a time',
              ['', 'orders', 'p50 ms', 'p99 ms', 'max ms'], rows)


def memory():
    engines = ('mariadb', 'kafka', 'consul')
    whens = list(collections.OrderedDict.fromkeys(
        k[1] for k in keys('memory')))
    names = list(collections.OrderedDict.fromkeys(
        k[2] for k in keys('memory')))
    rows = []

    def row(label, members):
        out = [label]
        for when in whens:
            for what in ('rss_kb', 'pss_kb'):
                got = [median(('memory', when, m), what) for m in members
                       if ('memory', when, m) in cells]
                out.append('%.1f' % (sum(got) / 1024)
                           if len(got) == len(members) else '-')
        return out

    ours = [n for n in names if n not in engines]
    rows = [row(n, [n]) for n in ours]
    rows.append(row('**all of ours**', ours))
    rows += [row(n, [n]) for n in names if n in engines]
    table('Memory, MiB (RSS counts shared pages in every process, PSS once)',
          ['program'] + ['%s %s' % (what, when) for when in whens
                         for what in ('RSS', 'PSS')], rows)


def extras():
    for key in keys('calibration'):
        print('MariaDB DO 1, %s clients: %s /s, p50 %s ms' % (
            key[1], spread(key, 'rate'), spread(key, 'p50_ms', 3)))


extras()
edge('edge', 'The edge alone: a static upstream', EDGE)
edge('stack', 'GET /api/products/{id} through the stack', STACK)
service('create', 'Order creation, two items each', 'orders/s', WRITES)

for key in keys('pipeline'):
    print('\nOrder service at %s clients with sidecars, Kafka and the payment '
          'service at work on the same CPUs: %s orders/s, p50 %s ms, p99 %s '
          'ms; the relay was then %s events behind.' % (
              key[1], spread(key, 'rate'), spread(key, 'p50_ms', 2),
              spread(key, 'p99_ms', 2),
              cells[('lag', '32', 'events')][0]['events']))

service('get', 'GET /api/orders/{id}', 'orders/s', READS)
paid()
memory()
