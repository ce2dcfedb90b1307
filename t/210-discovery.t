#!/usr/bin/perl

# Discovery on a real Consul agent: instances register, come and go under
# load without a reload of the gateway and without a failed request; a reload
# keeps the registration, a quit ends it; an agent that was restarted is told
# again; an agent that is gone changes nothing for traffic, nor does a restart
# of the gateway while it is gone.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use OpayRig;
use Test::More;
use Time::HiRes qw(time sleep);

plan skip_all => 'no consul here' if !OpayRig::consul_bin();

my $rig = OpayRig->new;

$rig->consul_start;

my $edge = $rig->port;
my %port = map { $_ => $rig->port } qw(one two);
my %check = map { $_ => $rig->port } qw(one two);


sub service_conf {
    my ($name, $id) = @_;

    $id ||= "demo-$name";

    return (workers => 2, http => <<"END");
    opay_consul @{[ $rig->consul ]};
    opay_register name=demo address=127.0.0.1 port=$port{$name}
                  check=http://127.0.0.1:$check{$name}/readyz id=$id
                  interval=200ms;
    server {
        listen 127.0.0.1:$port{$name};
        location / { return 200 "$name"; }
    }
    server {
        listen 127.0.0.1:$check{$name};
        location /readyz { return 200; }
    }
END
}


sub edge_conf {
    my (%o) = @_;

    my $fallback = $o{fallback} || '';

    return (workers => 2, http => <<"END");
    opay_consul @{[ $rig->consul ]};
    opay_state_dir $rig->{dir}/edge/state;
    upstream demo {
        opay_discover demo $fallback;
        keepalive 8;
    }
    server {
        listen 127.0.0.1:$edge;
        location / {
            proxy_pass http://demo;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_next_upstream error timeout http_502 http_503;
            proxy_connect_timeout 1s;
            add_header X-Upstream \$upstream_addr always;
        }
    }
END
}


# n requests: how many of each answer; $again counts second tries

my $again = 0;

sub ask {
    my ($n) = @_;

    my %seen;

    for (1 .. $n) {
        my $r = $rig->get("http://127.0.0.1:$edge/");
        $seen{ $r->{status} == 200 ? $r->{content} : $r->{status} }++;
        $again++ if ($r->{headers}{'x-upstream'} || '') =~ /,/;
    }

    return \%seen;
}


# Requests, one after the other, from a process of its own until told to end.

sub load_start {
    pipe my $stop_r, my $stop_w or die $!;
    pipe my $out_r, my $out_w or die $!;

    my $pid = fork // die $!;

    if (!$pid) {
        close $stop_w;
        $stop_r->blocking(0);

        my %seen;

        while (!defined sysread $stop_r, my $buf, 1) {
            my $got = ask(1);
            $seen{$_} += $got->{$_} for keys %$got;
        }

        print $out_w join ' ', map { "$_=$seen{$_}" } sort keys %seen;
        close $out_w;
        POSIX::_exit(0);
    }

    close $stop_r;
    close $out_w;

    return { pid => $pid, stop => $stop_w, out => $out_r };
}


sub load_end {
    my ($load) = @_;

    close $load->{stop};
    my $text = readline($load->{out}) // '';
    waitpid $load->{pid}, 0;

    return { map { split /=/ } split ' ', $text };
}


# --- registration

$rig->nginx_start('edge', edge_conf());

is_deeply ask(1), { 502 => 1 }, 'nothing known yet: 502';

$rig->nginx_start('one', service_conf('one'));

ok $rig->wait_for('one to pass', 10, sub {
    ($rig->consul_instances('demo')->{'demo-one'} || '') eq 'passing';
}), 'an instance registers and passes its check';

ok $rig->wait_for('edge to see it', 5, sub { ask(1)->{one} }),
    'the gateway uses it without a reload';

$rig->nginx_start('two', service_conf('two'));

ok $rig->wait_for('edge to see the second', 10, sub { ask(2)->{two} }),
    'so it does with a second one';

is_deeply ask(20), { one => 10, two => 10 },
    'the workers share one weighted round';


# --- maintenance, as an operator sets it before taking an instance away

for my $what ('service/maintenance/demo-two', 'maintenance') {
    my $url = $rig->consul . "/v1/agent/$what";

    $rig->http('PUT', "$url?enable=true&reason=test");

    if ($what =~ /two/) {
        ok $rig->wait_for('two to be left alone', 5, sub { !ask(4)->{two} }),
            'an instance under maintenance gets no requests';
        is_deeply ask(10), { one => 10 }, '... while the other serves';

    } else {
        ok $rig->wait_for('nobody to serve', 5, sub { ask(1)->{502} }),
            'a node under maintenance gets none at all';
    }

    $rig->http('PUT', "$url?enable=false");

    ok $rig->wait_for('both in use', 10, sub {
        my $s = ask(2); $s->{one} && $s->{two}
    }), '... until it ends';
}


# --- reload keeps the registration, quit ends it

my @old = $rig->workers('one');
my $load = load_start();

$rig->signal('one', 'HUP');

ok $rig->wait_for('old workers to end', 15, sub {
    my %now = map { $_ => 1 } $rig->workers('one');
    !grep { $now{$_} } @old;
}), 'old workers end on reload';

ok exists $rig->consul_instances('demo')->{'demo-one'},
    'a reload keeps the registration';
unlike $rig->log('one'), qr/deregistered/, 'and never took it away';

# another id: the old one is nobody's any more

$rig->nginx_conf('one', service_conf('one', 'demo-uno'));
$rig->signal('one', 'HUP');

ok $rig->wait_for('the new id alone', 10, sub {
    my $i = $rig->consul_instances('demo');
    $i->{'demo-uno'} && !$i->{'demo-one'};
}), 'a reload with another id takes the old one away';

$rig->wait_for('one to pass again', 10, sub {
    $rig->consul_instances('demo')->{'demo-uno'} eq 'passing';
});

my $took = $rig->nginx_stop('one', 'QUIT');

ok defined $took && $took < 3, 'quit is not held up';
is_deeply [keys %{ $rig->consul_instances('demo') }], ['demo-two'],
    'quit deregisters';

ok $rig->wait_for('edge to have dropped it', 5, sub {
    $rig->log('edge') =~ /has 1 instances, 1 healthy[^\n]*\n(?!.*instances)/s;
}), 'the gateway hears of it';

my $seen = load_end($load);

is join(' ', grep { !/^(one|two)$/ } keys %$seen), '',
    'no request failed all the while';
cmp_ok $seen->{two} || 0, '>', 10, 'and there were some';


# --- reloads of the gateway itself

$load = load_start();
@old = $rig->workers('edge');

for (1 .. 5) {
    my $n = () = $rig->log('edge') =~ /start worker processes/g;
    $rig->signal('edge', 'HUP');
    $rig->wait_for('new workers', 10, sub {
        (() = $rig->log('edge') =~ /start worker processes/g) > $n;
    });
}

ok $rig->wait_for('old workers to end', 20, sub {
    my @now = $rig->workers('edge');
    my %now = map { $_ => 1 } @now;
    @now == 2 && !grep { $now{$_} } @old;
}), 'five reloads leave two workers';

$seen = load_end($load);
is join(' ', grep { !/^(one|two)$/ } keys %$seen), '',
    'no request failed meanwhile';


# --- kill -9 of an instance: passive ejection until Consul finds out

$rig->nginx_start('one', service_conf('one'));
$rig->wait_for('both in use', 10, sub { my $s = ask(2); $s->{one} && $s->{two} });

my @pids = ($rig->{pids}{'nginx one'}, $rig->workers('one'));
delete $rig->{pids}{'nginx one'};

# stopped first: workers that see their master die would leave properly

kill 'STOP', @pids;
kill 'KILL', @pids;
waitpid $pids[0], 0;

my $retries = $again;
is_deeply ask(30), { two => 30 }, 'a killed instance costs no request';
cmp_ok $again - $retries, '<=', 4, 'and is left alone after a failure';

ok $rig->wait_for('critical', 10, sub {
    ($rig->consul_instances('demo')->{'demo-one'} || '') eq 'critical';
}), 'Consul finds it critical';

# its successor has the same id: no zombie

unlink "$rig->{dir}/one/nginx.pid";
$rig->nginx_start('one', service_conf('one'));

ok $rig->wait_for('it is back', 10, sub { ask(2)->{one} }),
    'started again, it is used again';
is scalar(keys %{ $rig->consul_instances('demo') }), 2,
    'under the id it had';


# --- worker 0 dies: its successor goes on

my ($zero) = grep {
    OpayRig::file("/proc/$_/cmdline") =~ /worker process/
} sort { $a <=> $b } $rig->workers('edge');

kill 'KILL', $zero;
$rig->wait_for('a new worker', 5, sub {
    !grep { $_ == $zero } $rig->workers('edge');
});
$rig->nginx_stop('one', 'QUIT');

ok $rig->wait_for('edge to have dropped it', 5, sub {
    my @n = $rig->log('edge') =~ /has (\d) instances/g;
    $n[-1] == 1;
}), 'the watch survives its worker';

# error.log has the master's alert about the killed worker: that one is ours

{
    my $log = $rig->log('edge');
    $log =~ s/^.*worker process \d+ exited on signal 9.*\n//mg;
    open my $f, '>', "$rig->{dir}/edge/logs/error.log" or die $!;
    print $f $log;
    close $f;
    $rig->signal('edge', 'USR1');
}


# --- the agent is restarted and has forgotten everything

$rig->nginx_start('one', service_conf('one'));
$rig->wait_for('both in use', 10, sub { my $s = ask(2); $s->{one} && $s->{two} });

$load = load_start();

$rig->consul_kill;
is_deeply [sort keys %{ ask(20) }], ['one', 'two'],
    'without Consul both are used';

$rig->consul_start;

ok $rig->wait_for('both to be registered again', 20, sub {
    scalar(keys %{ $rig->consul_instances('demo') }) == 2;
}), 'instances register again with an agent that forgot them';

ok $rig->wait_for('both to pass', 10, sub {
    my $i = $rig->consul_instances('demo');
    !grep { $_ ne 'passing' } values %$i;
}), 'and pass';

$seen = load_end($load);
is join(' ', grep { !/^(one|two)$/ } keys %$seen), '',
    'no request failed meanwhile';


# --- the gateway is restarted while Consul is gone

ok $rig->wait_for('a copy on disk', 5, sub {
    my $t = OpayRig::file("$rig->{dir}/edge/state/peers-demo");
    $t =~ /:$port{one}\b/ && $t =~ /:$port{two}\b/;
}), 'the list in use is on disk';

$rig->consul_kill;
$rig->nginx_stop('edge', 'QUIT');
unlink "$rig->{dir}/edge/nginx.pid";
my $t = time;
$rig->nginx_start('edge', edge_conf());

is_deeply ask(10), { one => 5, two => 5 }, 'it serves from the copy on disk';
cmp_ok time - $t, '<', 3, 'at once';

# a damaged copy counts as none; the fallback serves

$rig->nginx_stop('edge', 'TERM');
unlink "$rig->{dir}/edge/nginx.pid";

{
    my $path = "$rig->{dir}/edge/state/peers-demo";
    my $text = OpayRig::file($path);
    substr($text, -3, 1) ^= "\x01";
    open my $f, '>', $path or die $!;
    print $f $text;
    close $f;
}

$rig->nginx_start('edge', edge_conf(fallback => "fallback=127.0.0.1:$port{two}"));
is_deeply ask(10), { two => 10 }, 'a damaged copy is refused, fallback= serves';
like $rig->log('edge'), qr/peers-demo" is damaged/, 'and said so';

$rig->consul_start;
ok $rig->wait_for('both in use', 25, sub {
    my $s = ask(2); $s->{one} && $s->{two}
}), 'Consul takes over from the fallback';


# --- fast stop deregisters too

$rig->nginx_stop('two', 'TERM');
is_deeply [keys %{ $rig->consul_instances('demo') }], ['demo-one'],
    'a fast stop deregisters';

# --- an agent that accepts and never answers

my $mute = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
    LocalPort => $rig->port, Listen => 5,
    ReuseAddr => 1) or die $!;

{
    local $rig->{consul} = $mute->sockport;
    $rig->nginx_start('three', http => <<"END");
    opay_consul http://127.0.0.1:@{[ $mute->sockport ]};
    opay_register name=demo address=127.0.0.1 port=9
                  check=http://127.0.0.1:9/;
    opay_watch demo;
    server { listen 127.0.0.1:@{[ $rig->port ]}; }
END
}

$took = $rig->nginx_stop('three', 'QUIT');
ok defined $took && $took < 3, 'a mute agent holds a quit for a second only';

unlink "$rig->{dir}/three/nginx.pid";
$rig->nginx_start('three', http => OpayRig::file("$rig->{dir}/three/nginx.conf")
    =~ /(opay_consul.*\n)\}/s);
$took = $rig->nginx_stop('three', 'TERM');
ok defined $took && $took < 3, 'and a fast stop';

$rig->nginx_stop($_) for qw(one edge);
$rig->logs_clean;

done_testing();
