#!/usr/bin/perl

# The private listener: text that Prometheus takes, counters that survive a
# reload and restart only when it is said that they do, health that is true.

use strict;
use warnings;

use OpayDb;
use OpayProbe;
use OpayRaw;
use OpayRig;
use Test::More;

plan skip_all => 'no MariaDB here' if !OpayDb::found();

OpayProbe::build();

my $rig = OpayRig->new;
my $db = OpayDb->new($rig);
my ($port, $status) = map { $rig->port } 1 .. 2;

$db->probe_schema;


sub conf {
    my (%o) = @_;

    my $zone = $o{zone} || '1m';

    return (workers => 2, main => OpayProbe::main(), http => <<"END");
    opay_zone $zone;
    server {
        listen 127.0.0.1:$port;
@{[ OpayProbe::server(db => $db->{socket}) ]}
    }
    server {
        listen 127.0.0.1:$status;
        location / { opay_status; }
    }
END
}

$rig->nginx_start('t', conf());


sub status { return $rig->get("http://127.0.0.1:$status$_[0]") }

sub metric {
    my ($name) = @_;

    my ($v) = status('/metrics')->{content} =~ /^\Q$name\E (\S+)$/m;

    return $v // 'absent';
}

sub reload {
    my ($name) = @_;

    my %old = map { $_ => 1 } $rig->workers('t');

    $rig->signal('t', 'HUP');

    return $rig->wait_for('new workers only', 15, sub {
        my @w = $rig->workers('t');
        @w == 2 && !grep { $old{$_} } @w;
    });
}


# --- the text

my $label = '{service="probe",method="GET",route="/t/etag",status="2xx"}';

for (1 .. 7) { $rig->get("http://127.0.0.1:$port/t/etag") }
$rig->get("http://127.0.0.1:$port/t/who");
$rig->get("http://127.0.0.1:$port/t/sleep?ms=30");

my $r = status('/metrics');

is $r->{status}, 200, '/metrics';
like $r->{headers}{'content-type'}, qr{^text/plain; version=0\.0\.4},
    '... type';

SKIP: {
    my $tool = (grep { -x } map { "$_/promtool" } split /:/, $ENV{PATH})[0];

    if (!$tool) {
        diag 'NO promtool: the text of /metrics was NOT checked';
        skip 'no promtool', 1;
    }

    open my $f, '>', "$rig->{dir}/metrics" or die $!;
    print $f $r->{content};
    close $f;

    my $out = `$tool check metrics < $rig->{dir}/metrics 2>&1`;
    is $?, 0, 'promtool check metrics' or diag $out;
    is $out, '', '... without a remark';
}

is metric("opay_http_requests_total$label"), 7, 'requests are counted';
(my $no = $label) =~ s/etag/who/;
$no =~ s/2xx/4xx/;
is metric("opay_http_requests_total$no"), 1, 'refusals are counted';

my ($slow) = map { s/,status.*//r =~ s/etag/sleep/r } $label;
my $d = 'opay_http_request_duration_seconds';

is metric("${d}_bucket$slow,le=\"0.025\"}"), 0, 'histogram: 30 ms are > 25';
is metric("${d}_bucket$slow,le=\"10\"}"), 1, 'histogram: and < 10 s';
is metric("${d}_bucket$slow,le=\"+Inf\"}"), 1, 'histogram: +Inf';
is metric("${d}_count$slow}"), 1, 'histogram: count';
cmp_ok metric("${d}_sum$slow}"), '>=', 0.03, 'histogram: sum';


# --- reloads

ok reload(), 'reloaded';
is metric("opay_http_requests_total$label"), 7, 'counters survive a reload';

$rig->nginx_conf('t', conf(zone => '2m'));
ok reload(), 'reloaded with a larger zone';
is metric("opay_http_requests_total$label"), 0,
    'another size is another zone, from 0';
$rig->get("http://127.0.0.1:$port/t/etag");
is metric("opay_http_requests_total$label"), 1, '... and counts';


# --- health

for my $path (qw(/livez /readyz /healthz)) {
    ok $rig->wait_for("$path to pass", 10, sub {
        status($path)->{status} == 200
    }), "$path: 200";

    my $r = status($path);

    is $r->{headers}{'content-type'}, 'application/health+json',
        "$path: type";
    is OpayRaw::json({ body => $r->{content} })->{status}, 'pass',
        "$path: pass";
}

for my $case (['GET', '/', 404, 'not_found'],
              ['POST', '/livez', 405, 'method_not_allowed'])
{
    my ($method, $path, $code, $name) = @$case;
    my $r = $rig->http($method, "http://127.0.0.1:$status$path");

    is $r->{status}, $code, "$method $path";
    is OpayRaw::json({ body => $r->{content} })->{code}, $name, '... code';
    is $r->{headers}{allow}, $code == 405 ? 'GET, HEAD' : undef, '... Allow';
}

$db->stop;

ok $rig->wait_for('readyz to fail', 10, sub {
    status('/readyz')->{status} == 503
}), 'no database: not ready';

$r = OpayRaw::json({ body => status('/readyz')->{content} });
is_deeply [$r->{status}, $r->{checks}{'probe:database'}[0]{status}],
    ['fail', 'fail'], '... and says which check';
is status('/livez')->{status}, 200, '... but alive';

$db->start;
ok $rig->wait_for('readyz to pass', 15, sub {
    status('/readyz')->{status} == 200
}), 'the database is back: ready';


# --- full queues are no reason to be taken out of service

{
    my $busy = $rig->port;
    my $st = $rig->port;

    $rig->nginx_start('busy', workers => 1,
        main => OpayProbe::main(threads => 1), http => <<"END");
    opay_zone 1m;
    server {
        listen 127.0.0.1:$busy;
@{[ OpayProbe::server(db => $db->{socket},
        pool => 'slots=1 queue=3 wait=5s') ]}
    }
    server { listen 127.0.0.1:$st; location / { opay_status; } }
END
    my $ready = sub { $rig->get("http://127.0.0.1:$st/readyz")->{status} };

    ok $rig->wait_for('ready', 10, sub { $ready->() == 200 }), 'busy: ready';

    my (@c, %seen, $refused);
    my $end = time + 8;

    while (time < $end) {
        while (@c < 8) {
            my $c = OpayRaw->new($busy);
            $c->send("GET /t/read-sleep?ms=150 HTTP/1.1\r\nHost: t\r\n"
                . "Connection: close\r\n\r\n");
            push @c, $c;
        }

        $refused++ if shift(@c)->response->{status} == 503;
        $seen{ $ready->() }++;
    }

    cmp_ok $refused, '>', 3, 'busy: the queue was full';
    is join(' ', keys %seen), 200, 'busy: ready all the time';
    $rig->nginx_stop('busy');
}


# --- draining: a request that had begun before the worker was told to quit

{
    my $c = OpayRaw->new($status);

    $c->send("GET /readyz HTTP/1.1\r\nHost: t\r\n");

    # the worker has it when it has left the socket's queue
    $rig->wait_for('the half to be read', 5, sub {
        `ss -Htn state established sport = :$status` =~ /^0\s/m
            && `ss -Htn state established sport = :$status` !~ /^[1-9]/m
    });

    $rig->signal('t', 'QUIT');
    $rig->wait_for('the quit', 10, sub {
        (() = $rig->log('t') =~ /gracefully shutting down/g) >= 6
    });
    $c->send("\r\n");

    my $r = $c->response || { status => 0 };

    is $r->{status}, 503, 'draining: not ready';
    is OpayRaw::json($r)->{output}, 'draining', 'draining: says so';
}

ok defined $rig->nginx_stop('t'), 'ends';
$db->stop;

$rig->logs_clean;

done_testing;
