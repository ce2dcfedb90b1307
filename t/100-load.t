#!/usr/bin/perl

# Loading: the order of the modules, one that was built for another core, a
# configuration without http{}, and that "nginx -t" touches nothing.

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::UNIX;
use OpayProbe;
use OpayRig;
use Test::More;

OpayProbe::build();

my $rig = OpayRig->new;
my $core = 'ngx_opay_core_module.so';
my @services = map { "ngx_opay_${_}_module.so" } qw(auth gateway user order
    payment);


sub try_load {
    my ($load, $http) = @_;

    local $ENV{OPAY_LOAD} = $load;
    $rig->nginx_conf('t', main => OpayProbe::main(), http => $http || '');

    return $rig->nginx_test('t');
}


# Without core, or before it, a service says what it misses.

for my $so (@services, 'ngx_opay_probe_module.so') {
    for my $load ($so, "$so $core") {
        my ($code, $out) = try_load($load);

        isnt $code, 0, "refused: $load";
        like $out, qr/\Q$so\E.*undefined symbol: (ngx_)?opay_\w+/s,
            '... and names what is missing';
    }
}


# All six, in their order and in another one behind core.

for my $load ("$core @services", "$core @{[ reverse @services ]}") {
    my ($code, $out) = try_load($load);

    is $code, 0, "loads: $load" or diag $out;
    unlike $out, qr/\[(warn|alert|emerg)\]/, '... without a murmur';
}


# A module of another build, and two services in one server.

my $port = $rig->port;
my $server = OpayProbe::server();

for my $case (
    ['abi', "opay_probe abi=99;",
     qr{ABI 99, the loaded ngx_opay_core_module has \d+}],
    ['twice', "opay_probe; opay_probe;",
     qr/"opay_probe": this server has "opay_probe" already/])
{
    my ($name, $text, $why) = @$case;
    (my $s = $server) =~ s/opay_probe;/$text/;
    my ($code, $out) = try_load("$core ngx_opay_probe_module.so",
        "server { listen 127.0.0.1:$port; $s }");

    isnt $code, 0, "$name: refused";
    like $out, $why, "$name: says why";
}


# No http{} at all.

{
    local $ENV{OPAY_LOAD} = "$core @services";
    my $dir = $rig->nginx_conf('bare', http => '');
    my $text = OpayRig::file("$dir/nginx.conf");

    $text =~ s/^http \{.*//ms;
    open my $f, '>', "$dir/nginx.conf" or die $!;
    print $f $text;
    close $f;

    my ($code, $out) = $rig->nginx_test('bare');
    is $code, 0, 'no http{}: nginx -t' or diag $out;

    my $pid = fork // die $!;
    if (!$pid) {
        open STDERR, '>', "$dir/logs/out" or die $!;
        $ENV{LD_PRELOAD} = $ENV{OPAY_PRELOAD} if $ENV{OPAY_PRELOAD};
        exec $rig->nginx_cmd('bare'), '-g', 'daemon off;' or exit 1;
    }

    $rig->{pids}{'nginx bare'} = $pid;
    ok $rig->wait_for('two workers', 10, sub { $rig->workers('bare') == 2 }),
        'no http{}: workers run';
    $rig->signal('bare', 'HUP');
    ok $rig->wait_for('a reload', 10, sub {
        $rig->log('bare') =~ /reconfiguring/ && $rig->workers('bare') >= 2
    }), 'no http{}: reloads';
    ok defined $rig->nginx_stop('bare'), 'no http{}: quits';
    unlike $rig->log('bare'), qr/exited on signal/, 'no http{}: no crash';
}


# "nginx -t" asks no database, no Consul, and writes no file.

{
    my $db = IO::Socket::UNIX->new(Local => "$rig->{dir}/db.sock",
        Listen => 5, Blocking => 0) or die $!;
    my $cport = $rig->port;
    my $consul = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $cport, Listen => 5, ReuseAddr => 1, Blocking => 0)
        or die $!;
    my $s = OpayProbe::server(db => "$rig->{dir}/db.sock");
    my $state = "$rig->{dir}/t/state";

    my ($code, $out) = try_load("$core ngx_opay_probe_module.so", <<"END");
    opay_zone 1m;
    opay_state_dir $state;
    opay_consul http://127.0.0.1:$cport;
    opay_register name=probe address=127.0.0.1 port=$port
        check=http://127.0.0.1:$port/readyz;
    opay_watch probe;
    server {
        listen 127.0.0.1:$port;
$s
        opay_event_notify unix:$rig->{dir}/relay.sock;
    }
END
    is $code, 0, 'nginx -t: accepted' or diag $out;
    ok !$db->accept, 'nginx -t: no word to the database';
    ok !$consul->accept, 'nginx -t: no word to Consul';
    is join(' ', glob "$state/*"), '', 'nginx -t: nothing in the state folder';
    ok !-e "$rig->{dir}/relay.sock", 'nginx -t: no socket made';
}


done_testing;
