#!/usr/bin/perl

# Writes that must happen once, on a database that is stopped, killed and
# cut off meanwhile: one row for each key, whatever a client had to send again.

use strict;
use warnings;

use IO::Select;
use OpayDb;
use OpayMint;
use OpayProbe;
use OpayRaw;
use OpayRig;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'no MariaDB here' if !OpayDb::found();

OpayProbe::build();

my $rig = OpayRig->new;
my $mint = OpayMint->new($rig->{dir});
my $db = OpayDb->new($rig);
my ($port, $status) = map { $rig->port } 1 .. 2;

$db->probe_schema;

$rig->nginx_start('t', workers => 2, main => OpayProbe::main(threads => 4),
    http => <<"END");
    @{[ $mint->conf ]}
    opay_zone 1m;
    server {
        listen 127.0.0.1:$port;
        opay_db_timeout 2s;
        opay_db_lock_timeout 2s;
@{[ OpayProbe::server(db => $db->{socket}, pool => 'slots=4 wait=20s') ]}
    }
    server {
        listen 127.0.0.1:$status;
        location / { opay_status; }
    }
END

my @token = map { $mint->token(OpayMint::uuid()) } 1 .. 2;

ok $rig->wait_for('the database to be seen', 10, sub {
    $rig->get("http://127.0.0.1:$status/readyz")->{status} == 200
}), 'ready';


# A POST, not waited for.

sub post {
    my ($path, $body, $key, $who) = @_;

    my $c = eval { OpayRaw->new($port) } or return;

    $c->send("POST $path HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        . "Authorization: Bearer $token[$who || 0]\r\n"
        . (defined $key ? "Idempotency-Key: $key\r\n" : '')
        . "Content-Type: application/json\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body");

    return $c;
}


sub answer {
    my ($c) = @_;

    return $c && eval { $c->response(timeout => 30) }
        || { status => 0, headers => {}, body => '' };
}

sub count { return answer(post('/t/count', @_)) }

sub rows { return $db->sql('SELECT COUNT(*) FROM probe.probe') }


# --- replay

{
    my $first = count('{"a":1}', 'k-1');
    my $again = count('{ "a" : 1 }', 'k-1');

    is $first->{status}, 201, 'the first';
    ok !$first->{headers}{'idempotent-replayed'}, '... is no replay';
    is $again->{headers}{'idempotent-replayed'}, 'true', 'the second is one';
    is $again->{$_}, $first->{$_}, "... same $_" for qw(status body);
    is $again->{headers}{$_}, $first->{headers}{$_}, "... same $_"
        for qw(etag content-type location content-length);
    is count('{"a":1}', '"k-1"')->{body}, $first->{body},
        'a quoted key is the same key';
    is rows(), 1, 'one row';

    my $other = count('{"a":2}', 'k-1');
    my $p = OpayRaw::json($other);

    is $other->{status}, 422, 'another body: 422';
    is $p->{code}, 'idempotency_key_reused', '... code';
    is rows(), 1, '... did nothing';

    is count('{"a":1}', 'k-1', 1)->{status}, 201, 'another user, same key';
    is rows(), 2, '... is another request';
    is count('{"a":1}')->{status}, 201, 'no key: no record';
    is count('{"a":1}')->{status}, 201, '... twice';
    is rows(), 4, '... is done twice';
}


# --- keys that are none

for my $key ('', ' ', 'x' x 256, '"open', 'a"b"c"', "caf\xc3\xa9", "tab\there",
    '"a";p=1')
{
    my $r = count('{}', $key);
    my $ok = $key eq 'a"b"c"';        # bare: any printable character

    is $r->{status}, $ok ? 201 : 400, "key '" . substr($key, 0, 20) . "'";
    is OpayRaw::json($r)->{code}, 'validation_failed', '... code' if !$ok;
}

{
    my $c = OpayRaw->new($port);
    $c->send("POST /t/count HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        . "Authorization: Bearer $token[0]\r\nIdempotency-Key: a\r\n"
        . "Idempotency-Key: b\r\nContent-Type: application/json\r\n"
        . "Content-Length: 2\r\n\r\n{}");
    is answer($c)->{status}, 400, 'two keys are none';
}


# --- twins: many at the same time, one of them does it

for my $round (1 .. 5) {
    my $before = rows();
    my @r = map { answer($_) } map { post('/t/count', '{"t":1}', "t-$round") }
        1 .. 24;
    my %status;
    $status{ $_->{status} }++ for @r;

    is rows() - $before, 1, "twins, round $round: one row";
    is $status{201}, 24, '... and one answer for all'
        or diag join ' ', %status;
    is scalar(grep { $_->{headers}{'idempotent-replayed'} } @r), 23,
        '... 23 of them replayed';
}


# --- one bad call does not cost its neighbours anything

{
    my @v = (1 .. 20, 500, 21 .. 30, 7, -1);
    my @r = map { answer($_) } map { post('/t/poison', qq({"v":$_})) } @v;
    my %got;
    $got{ $v[$_] } .= $r[$_]{status} . ' ' for 0 .. $#v;

    is join(' ', map { $got{$_} } grep { $_ != 7 } 1 .. 30),
        join(' ', ('201 ') x 29), 'poison: the good ones are there';
    like $got{7}, qr/^(201 409|409 201) $/, 'poison: a duplicate, once';
    is "$got{500}$got{-1}", '500 500 ', 'poison: the bad ones are not';
    is $db->sql('SELECT COUNT(*), MIN(v), MAX(v) FROM probe.probe_poison'),
        "30\t1\t30", 'poison: and the table says so';
}


# Sends each key until it has its 201; %o: what happens meanwhile.

sub storm {
    my ($name, $n, $meanwhile) = @_;

    my @left = map { "$name-$_" } 1 .. $n;
    my $end = time + 60;
    my ($i, %seen) = (0);

    while (@left && time < $end) {
        my @now = splice @left, 0, 8;
        my @c = map { [$_, post('/t/count', qq({"s":"$_"}), $_)] } @now;

        $meanwhile->($i++);

        for my $c (@c) {
            my $r = answer($c->[1]);
            $seen{ $r->{status} }++;
            push @left, $c->[0] if $r->{status} != 201;
        }
    }

    is scalar @left, 0, "$name: every key has its answer";
    is join(' ', sort grep { !/^(201|503|409|0)$/ } keys %seen), '',
        "$name: and no other refusal than 503, 409" or diag %seen;
    note join ' ', map { "$_: $seen{$_}" } sort keys %seen;

    return \%seen;
}

sub once {
    my ($name, $n, $before) = @_;

    is rows() - $before, $n, "$name: as many rows as keys";
    is $db->sql("SELECT COUNT(*) FROM (SELECT k FROM probe.probe WHERE k <>
        REPEAT('\\0', 32) GROUP BY k HAVING COUNT(*) > 1) x"), 0,
        "$name: none twice";
}


# --- connections that are killed under way

{
    my $before = rows();

    storm('kill', 160, sub {
        my @id = split /\n/, $db->sql("SELECT id FROM
            information_schema.processlist WHERE db = 'probe'");
        my $how = $_[0] % 2 ? 'QUERY' : 'CONNECTION';
        $db->sql(join '', map { "KILL $how $_;" } @id) if $_[0] % 3 == 0;
    });
    once('kill', 160, $before);
}


# --- the server is killed, and comes back

{
    my $before = rows();

    storm('crash', 80, sub {
        if ($_[0] == 3) { $db->stop('KILL'); $db->start }
    });
    once('crash', 80, $before);
}


# --- the server is away: refused at once; back: served, without a restart

{
    my @pids = $rig->workers('t');

    $db->stop;

    # what was connected finds out first
    ok $rig->wait_for('a refusal', 10, sub {
        count('{}', 'away')->{status} == 503
    }), 'away: refused';

    my $t = time;
    my $r = count('{"a":1}', 'away-1');

    is $r->{status}, 503, 'away: 503';
    is OpayRaw::json($r)->{code}, 'unavailable', 'away: code';
    is $r->{headers}{'retry-after'}, 1, 'away: Retry-After';
    cmp_ok time - $t, '<', 1, 'away: at once';

    my @many = map { answer($_) } map { post('/t/count', '{}', "many-$_") }
        1 .. 60;

    is scalar(grep { $_->{status} == 503 } @many), 60,
        'away: sixty at once are refused';
    cmp_ok time - $t, '<', 5, 'away: soon';
    ok $rig->wait_for('readyz to say so', 10, sub {
        $rig->get("http://127.0.0.1:$status/readyz")->{status} == 503
    }), 'away: not ready';

    my $errors = () = $rig->log('t') =~ /\[error\].*failed: (down|lost)/g;
    cmp_ok $errors, '<', 12, "away: the log is not flooded ($errors lines)";
    like $rig->log('t'), qr/\[error\].*database of "probe" is away: \S/,
        'away: said, with a reason';

    my $before = 0;
    $db->start;
    $before = rows();

    ok $rig->wait_for('it to be served', 15, sub {
        count('{"a":1}', 'away-1')->{status} == 201
    }), 'back: served';
    ok $rig->wait_for('readyz', 10, sub {
        $rig->get("http://127.0.0.1:$status/readyz")->{status} == 200
    }), 'back: ready';
    like $rig->log('t'), qr/database of "probe" answers/, 'back: said';
    is rows() - $before, 1, 'back: one row, nothing of the time before';
    is join(' ', $rig->workers('t')), "@pids", 'the same workers all along';
}


# --- a server that hangs: bounded, and what waits is refused in time

{
    my $slow = $rig->port;

    $rig->nginx_start('slow', workers => 1,
        main => OpayProbe::main(threads => 1), http => <<"END");
    @{[ $mint->conf ]}
    server {
        listen 127.0.0.1:$slow;
        opay_db_timeout 4s;
@{[ OpayProbe::server(db => $db->{socket},
        pool => 'slots=1 queue=4 wait=300ms') ]}
    }
END
    my @c;

    for my $ms (2500, 1, 1, 1) {
        my $c = OpayRaw->new($slow);
        $c->send("GET /t/read-sleep?ms=$ms HTTP/1.1\r\nHost: t\r\n"
            . "Connection: close\r\n\r\n");
        push @c, $c;
        $rig->wait_for('the first to run', 5, sub {
            $db->sql("SELECT COUNT(*) FROM information_schema.processlist
                WHERE info LIKE '%SLEEP%' AND info NOT LIKE '%process%'") > 0
        }) if @c == 1;
    }

    my $t = time;
    my @r = map { answer($_) } @c[1 .. 3];

    cmp_ok time - $t, '<', 1.5, 'stuck: those behind it do not wait for it';
    is join(' ', map { $_->{status} } @r), '503 503 503', 'stuck: refused';
    is answer($c[0])->{status}, 200, 'stuck: and it ends';
    $rig->nginx_stop('slow');
}

$rig->nginx_stop('t');
$db->stop;
$rig->logs_clean;

done_testing;
