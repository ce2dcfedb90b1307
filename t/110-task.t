#!/usr/bin/perl

# The life of work on pool threads: a client that leaves, a worker that is
# told to quit, stop or reload while a thread is busy, a queue that is full.
# Each block is a row of the table that core's task helper is built to; what
# used to happen without the helper is a freed request under a running
# thread, an empty reply, or "[alert] open socket left".
#
# The service is t/probe; its HASH steps sleep as long as they are told to.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use OpayRig;
use Test::More;
use Time::HiRes qw(time);

my $root = $OpayRig::root;
my $asan = $ENV{OPAY_ASAN} ? '--asan' : '';

system("$root/t/probe/build.sh $asan") == 0
    or BAIL_OUT('t/probe/build.sh failed');

$ENV{OPAY_LOAD} = 'ngx_opay_core_module.so ngx_opay_probe_module.so';

my $rig = OpayRig->new;


# A server of the probe service; %o: pool and hold of it.

sub start {
    my ($name, %o) = @_;

    my $port = $rig->port;
    my $pool = $o{pool} || 'slots=2';
    my $hold = $o{hold} || '60s';

    $rig->nginx_start($name, workers => 1,
        main => "thread_pool p threads=2 max_queue=64;\n" . ($o{main} || ''),
        http => <<"END");
    opay_zone 1m;
    server {
        listen 127.0.0.1:$port;
        opay_db unix:$rig->{dir}/no.sock;
        opay_db_name none;
        opay_db_user none;
        opay_pool read p;
        opay_pool write p;
        opay_pool hash p $pool;
        opay_shutdown_hold $hold;
        opay_probe;
    }
END

    return $port;
}


# A request on a connection of its own, not waited for.

sub ask {
    my ($port, $path, $method) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => 5) or return;
    my $body = ($method || 'GET') eq 'POST'
        ? "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
        : "\r\n";

    syswrite $s, ($method || 'GET') . " $path HTTP/1.1\r\nHost: t\r\n"
        . "Connection: close\r\n$body";

    return $s;
}


# All that comes until the other side closes.

sub answer {
    my ($s, $seconds) = @_;

    my $end = time + ($seconds || 10);
    my $sel = IO::Select->new($s);
    my $got = '';

    while (time < $end && $sel->can_read($end - time)) {
        sysread($s, $got, 65536, length $got) or last;
    }

    return $got;
}


# Waits until the thread has the job: its batch is counted before it runs.

sub busy {
    my ($name, $port, $n) = @_;

    $rig->wait_for("$n requests to be read", 5, sub {
        my @fd = glob '/proc/' . ($rig->workers($name))[0] . '/task/*';
        my $r = `ss -Htn state established sport = :$port 2>/dev/null`;
        ($r =~ tr/\n//) >= $n && $r !~ /^[1-9]/m;
    });
}


sub access { return OpayRig::file("$rig->{dir}/$_[0]/logs/access.log") }


# 1: the client of a write leaves; the write is finished for nobody

{
    my $port = start('abort_write');
    my ($worker) = $rig->workers('abort_write');
    my $s = ask($port, '/t/sleep?ms=300', 'POST');

    busy('abort_write', $port, 1);
    close $s;

    ok($rig->wait_for('the log line', 5, sub {
        access('abort_write') =~ m{POST /t/sleep\S* HTTP/1.1" (200|499)}
    }), 'write: the abandoned request ends');
    like(answer(ask($port, '/t/sleep?ms=1')), qr/^HTTP\S+ 200/,
        'write: the next request is served');
    is(($rig->workers('abort_write'))[0], $worker, 'write: worker lives');
}


# 2: several clients leave at once, in the queue and in the threads

{
    my $port = start('abort_many');
    my ($worker) = $rig->workers('abort_many');
    my @s = map { ask($port, '/t/sleep?ms=150') } 1 .. 8;

    busy('abort_many', $port, 8);
    close $_ for @s;

    ok($rig->wait_for('eight log lines', 8, sub {
        (() = access('abort_many') =~ m{GET /t/sleep\?ms=150}g) == 8
    }), 'many: every abandoned request ends');
    like(answer(ask($port, '/t/sleep?ms=1')), qr/^HTTP\S+ 200/,
        'many: the next request is served');
    is(($rig->workers('abort_many'))[0], $worker, 'many: worker lives');
}


# 3: graceful quit while a thread works: the client has its answer first

{
    my $port = start('quit');
    my $s = ask($port, '/t/sleep?ms=700');

    busy('quit', $port, 1);
    my $end = $rig->nginx_stop('quit', 'QUIT');

    like(answer($s), qr/^HTTP\S+ 200.*"batch":1/s, 'quit: answered');
    ok(defined $end, 'quit: the master ends');
}


# 4: calls that wait in the queue are answered before the worker quits too

{
    my $port = start('quit_queue', pool => 'slots=1 wait=20s');
    my @s = map { ask($port, '/t/sleep?ms=200', 'POST') } 1 .. 4;

    busy('quit_queue', $port, 4);
    $rig->nginx_stop('quit_queue', 'QUIT');

    is((grep { answer($_) =~ /^HTTP\S+ 200/ } @s), 4,
        'quit: the queue is worked off');
}


# 5: worker_shutdown_timeout cuts the client off, and frees nothing too early

{
    my $port = start('timeout', main => '');
    my $conf = "$rig->{dir}/timeout/nginx.conf";
    my $text = OpayRig::file($conf);

    $text =~ s/worker_shutdown_timeout 10s/worker_shutdown_timeout 200ms/;
    open my $f, '>', $conf or die $!;
    print $f $text;
    close $f;

    my ($old) = $rig->workers('timeout');
    $rig->signal('timeout', 'HUP');
    $rig->wait_for('the new worker', 5, sub {
        my @w = $rig->workers('timeout');
        @w == 1 && $w[0] != $old;
    });

    my $s = ask($port, '/t/sleep?ms=1200');
    busy('timeout', $port, 1);

    ok(defined $rig->nginx_stop('timeout', 'QUIT'),
        'shutdown timeout: ends when the job ends');
    unlike(answer($s), qr/^HTTP\S+ 5/, 'shutdown timeout: no false answer');
}


# 6: fast stop while a thread works

{
    my $port = start('term');
    my $s = ask($port, '/t/sleep?ms=600');

    busy('term', $port, 1);
    ok(defined $rig->nginx_stop('term', 'TERM'), 'term: the master ends');
    answer($s);
}


# 7: a full queue answers at once

{
    my $port = start('full', pool => 'slots=1 queue=2 wait=20s');
    my @s = map { ask($port, '/t/sleep?ms=800') } 1 .. 6;
    my @a = map { answer($_) } @s;

    my @refused = grep { /^HTTP\S+ 503/ } @a;

    cmp_ok(scalar(@refused), '>=', 3, 'full: the excess is refused');
    is((grep { /^Retry-After: 1\r/m && /"code":"overloaded"/ } @refused),
        scalar @refused, 'full: with Retry-After and a code');
    is((grep { /^HTTP\S+ 200/ } @a) + @refused, 6, 'full: all are answered');
}


# 8: what waits too long is refused, unexecuted

{
    my $port = start('wait', pool => 'slots=1 queue=64 wait=100ms');
    my @s = map { ask($port, '/t/sleep?ms=300') } 1 .. 4;
    my @a = map { answer($_) } @s;

    is((grep { /^HTTP\S+ 200/ } @a), 1, 'wait: one had its turn');
    is((grep { /^HTTP\S+ 503.*waited too long/s } @a), 3,
        'wait: three were refused');
}


# 9: work that outlives opay_shutdown_hold is said so, and not cut

{
    my $port = start('hold', hold => '100ms');

    like(answer(ask($port, '/t/sleep?ms=450')), qr/^HTTP\S+ 200/,
        'hold: answered');
    like($rig->log('hold'), qr/\[error\].*"probe.sleep" is under way/,
        'hold: and logged');
}


# 10: reload under load: no request is lost

{
    my $port = start('reload');
    my ($good, $bad, $n) = (0, 0, 0);
    my $end = time + 4;

    while (time < $end) {
        $rig->signal('reload', 'HUP') if $n++ % 15 == 0;

        for my $s (map { ask($port, '/t/sleep?ms=20', 'POST') } 1 .. 6) {
            answer($s) =~ /^HTTP\S+ 200/ ? $good++ : $bad++;
        }
    }

    is($bad, 0, "reload: none of $good requests was lost");
    cmp_ok($n, '>', 15, 'reload: more than one reload was under way');
}


# 11: batches grow under load, and a lone call waits for nobody

{
    my $port = start('batch', pool => 'slots=1 wait=20s');

    like(answer(ask($port, '/t/batch?ms=1')), qr/"batch":1/,
        'batch: alone, of one');

    my @s = map { ask($port, '/t/batch?ms=200') } 1 .. 9;
    my @sizes = map { answer($_) =~ /"batch":(\d+)/ ? $1 : 0 } @s;

    ok((grep { $_ > 1 } @sizes), "batch: together (@sizes)");
    ok(!(grep { $_ > 8 } @sizes), 'batch: at most batch_max');
}


# 12: a chain that ends without an outcome is a bug, and says so

{
    my $port = start('nothing');

    like(answer(ask($port, '/t/nothing')),
        qr/^HTTP\S+ 500.*"code":"internal_error"/s, 'nothing: 500');
    like($rig->log('nothing'), qr/\[alert\].*"probe.nothing" ended without/,
        'nothing: alert');

    $rig->nginx_stop('nothing');

    # it was asked for
    unlink "$rig->{dir}/nothing/logs/error.log";
}


# 13: a master that is killed takes its workers with it, work done

{
    my $port = start('orphan');
    my ($worker) = $rig->workers('orphan');
    my $s = ask($port, '/t/sleep?ms=400', 'POST');

    busy('orphan', $port, 1);
    $rig->nginx_stop('orphan', 'KILL');

    ok($rig->wait_for('the listener to be free', 5, sub {
        IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $port,
            Listen => 1, ReuseAddr => 1);
    }), 'orphan: the next master could bind');
    like(answer($s), qr/^HTTP\S+ 200/, 'orphan: the running job is answered');
    close $s;
    ok($rig->wait_for('the worker to end', 5, sub {
        # whoever adopts it may leave it a zombie
        OpayRig::file("/proc/$worker/stat") !~ /\) [^Z]/;
    }),
        'orphan: the worker ends');
}


$rig->nginx_stop($_) for qw(abort_write abort_many full wait hold reload
    batch);

$rig->logs_clean;

done_testing;
