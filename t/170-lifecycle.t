#!/usr/bin/perl

# Reloads, crashes and the end of workers under a mixed load that writes to a
# database: nothing that was acknowledged is missing, and nothing that was
# sent again is there twice.

use strict;
use warnings;

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
my $token = $mint->token(OpayMint::uuid(), ttl => 900);

$db->probe_schema;


sub conf {
    my (%o) = @_;

    my $zone = $o{zone} || '1m';

    return (workers => 2, main => OpayProbe::main(threads => 2),
        http => <<"END");
    @{[ $mint->conf ]}
    opay_zone $zone;
    server {
        listen 127.0.0.1:$port;
@{[ OpayProbe::server(db => $db->{socket}, pool => 'slots=2 wait=20s') ]}
    }
    server {
        listen 127.0.0.1:$status;
        location / { opay_status; }
    }
END
}

$rig->nginx_start('t', conf());

$rig->wait_for('ready', 15, sub {
    $rig->get("http://127.0.0.1:$status/readyz")->{status} == 200
});


sub ask {
    my ($kind, $key) = @_;

    my $c = eval { OpayRaw->new($port) } or return;
    my $head = "HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        . "Authorization: Bearer $token\r\n";
    my $body = qq({"k":"$key"});

    $c->send($kind eq 'write' ? "POST /t/count ${head}Idempotency-Key: $key"
        . "\r\nContent-Type: application/json\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body"
        : $kind eq 'read' ? "GET /t/read-sleep?ms=5 $head\r\n"
        : $kind eq 'hash' ? "GET /t/sleep?ms=15 $head\r\n"
        : "GET /t/who $head\r\n");

    return $c;
}


# Mixed load for so many rounds; each write is sent until it has its 201.
# (statuses seen, keys sent)  $before may return what is done when all of a
# round has been sent: that must be quick, to find it under way.

sub load {
    my ($name, $rounds, $before) = @_;

    my (%seen, @again, @keys);
    my $end = time + 90;

    for (my $i = 0; ($i < $rounds || @again) && time < $end; $i++) {

        my @new = $i < $rounds ? map { "$name-$i-$_" } 1 .. 4 : ();
        push @keys, @new;

        my $then = $before->($i);
        my @c = map { ['write', $_, ask('write', $_)] } @new, splice @again;
        push @c, map { [$_, '', ask($_, 'x')] } qw(read read hash who);

        $then->() if ref $then;

        for my $c (@c) {
            my $r = $c->[2] && eval { $c->[2]->response(timeout => 20) };
            my $st = $r ? $r->{status} : 0;

            $seen{"$c->[0] $st"}++;
            push @again, $c->[1] if $c->[0] eq 'write' && $st != 201;
        }
    }

    is scalar @again, 0, "$name: every write has its answer";
    note join ', ', map { "$_: $seen{$_}" } sort keys %seen;

    return (\%seen, scalar @keys);
}


sub rows { return $db->sql('SELECT COUNT(*), COUNT(DISTINCT k) FROM
    probe.probe') }

my $sum = 0;


# --- reloads

{
    my $reloads = 0;

    my ($seen, $n) = load('hup', 60, sub {
        $_[0] % 6 == 2 && sub { $rig->signal('t', 'HUP'); $reloads++ };
    });

    $sum += $n;
    is join(' ', sort keys %$seen), 'hash 200 read 200 who 200 write 201',
        'hup: all were answered, at once';
    cmp_ok $reloads, '>=', 10, 'hup: there were reloads';
    is rows(), "$sum\t$sum", 'hup: one row for each';
}


# --- reloads that change the zone's size, and back

{
    my ($seen, $n) = load('zone', 30, sub {
        return if $_[0] % 6 != 2;
        $rig->nginx_conf('t', conf(zone => $_[0] % 12 == 2 ? '2m' : '1m'));

        return sub { $rig->signal('t', 'HUP') };
    });

    $sum += $n;
    is join(' ', sort keys %$seen), 'hash 200 read 200 who 200 write 201',
        'zone: all were answered, at once';
    is rows(), "$sum\t$sum", 'zone: one row for each';

    $rig->wait_for('the old workers to go', 30, sub {
        $rig->workers('t') == 2
    });
    is $rig->get("http://127.0.0.1:$status/metrics")->{status}, 200,
        'zone: metrics are there';
}


# --- workers that are killed

{
    my ($kills, %was) = (0);

    my ($seen, $n) = load('kill', 60, sub {
        return if $_[0] % 4 != 3;
        my @pids = $rig->workers('t');
        $was{$_} = 1 for @pids;

        return sub { $kills += kill 'KILL', @pids };
    });

    $sum += $n;
    is join(' ', grep { !/^(hash 200|read 200|who 200|write 201|\w+ 0)$/ }
        sort keys %$seen), '', 'kill: an answer, or none: no wrong one';
    cmp_ok $kills, '>=', 20, 'kill: workers were killed';
    ok $seen->{'write 0'}, 'kill: and writes were cut off';
    is rows(), "$sum\t$sum", 'kill: one row for each';

    ok $rig->wait_for('two workers', 10, sub {
        my @w = $rig->workers('t');
        @w == 2 && !grep { $was{$_} } @w;
    }), 'kill: new workers serve';
}


# --- the end: what was begun is answered

{
    my @c = map { ask('write', "end-$_") } 1 .. 12;
    push @c, map { ask('hash', 'x') } 1 .. 6;

    # whatever is not accepted when the listener closes was not begun
    $rig->wait_for('all to be accepted', 5, sub {
        `ss -Hltn sport = :$port` =~ /^\S+\s+0\s/
            && `ss -Htn state established sport = :$port` !~ /^[1-9]/m
    });

    $rig->signal('t', 'QUIT');

    my %seen;
    $seen{ ($_->response(timeout => 20) || { status => 0 })->{status} }++
        for @c;

    ok defined $rig->nginx_stop('t'), 'quit: ends';
    is $seen{0} // 0, 0, 'quit: all were answered' or diag %seen;
    is rows(), join("\t", ($sum + 12) x 2), 'quit: and are there';
}

$db->stop;

# asked for: workers that were killed
{
    my $path = "$rig->{dir}/t/logs/error.log";
    my $text = OpayRig::file($path);

    $text =~ s/^.*\[alert\].*worker process \d+ exited on signal 9\n//mg;
    open my $f, '>', $path or die $!;
    print $f $text;
}

$rig->logs_clean;

done_testing;
