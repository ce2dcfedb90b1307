#!/usr/bin/perl

# A Consul that is wrong, late or half broken: one bad entry must not take a
# service with it, an error or an emptied agent must not take its instances, a
# clean departure must be believed at once, and nothing may be asked in a
# spin.  (The rules themselves: t/unit/test_consul.c.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use OpayFakeConsul;
use OpayRig;
use Test::More;
use Time::HiRes qw(time sleep);

my $rig = OpayRig->new;
my ($edge, $status, $agent, @back) = map { $rig->port } 1 .. 6;
my $fake = OpayFakeConsul->new($rig->{dir}, $agent);


sub token {
    open my $f, '>', "$rig->{dir}/token" or die $!;
    print $f "$_[0]\n";
    close $f;
    chmod 0644, "$rig->{dir}/token";
}

token('first-secret');

$rig->nginx_start('edge', workers => 2, http => <<"END");
    opay_consul http://127.0.0.1:$agent token_file=$rig->{dir}/token;
    opay_state_dir $rig->{dir}/edge/state;
    upstream demo { opay_discover demo; keepalive 4; }
    server {
        listen 127.0.0.1:$edge;
        location / {
            proxy_pass http://demo;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
    server { listen 127.0.0.1:$status; location / { opay_status; } }
    @{[ join '', map { "server { listen 127.0.0.1:$back[$_];"
        . " location / { return 200 $_; } }\n" } 0 .. 2 ]}
END


sub e { my ($n, $st, %o) = @_;
    return OpayFakeConsul::entry("demo-$n", $back[$n], $st, %o) }


# which backends n requests reach

sub reach {
    my %seen;

    for (1 .. $_[0] || 6) {
        my $r = $rig->get("http://127.0.0.1:$edge/");
        $seen{ $r->{status} == 200 ? $r->{content} : $r->{status} }++;
    }

    return join ' ', sort keys %seen;
}


sub becomes {
    my ($want, $name) = @_;

    my $got = '';
    $rig->wait_for("$name: $want", 12, sub { ($got = reach()) eq $want });

    is $got, $want, $name;
}


# it stays so although Consul was heard: it was asked for what comes after the
# index of its last answer, or, when that was an error, asked twice since

sub stays {
    my ($want, $name, $error) = @_;

    my $index = $fake->state->{index};

    my $heard = $rig->wait_for('Consul to be asked again', 12, sub {
        my @since = $fake->asked_since_say;
        $error ? @since >= 2 : grep { /index=$index&/ } @since;
    });

    is $heard && reach(), $want, $name;
}


sub metric {
    my ($name) = @_;

    my $text = $rig->get("http://127.0.0.1:$status/metrics")->{content};

    return $text =~ /^\Q$name\E (\S+)$/m ? $1 : undef;
}


becomes('502', 'nothing is known');

{
    my $r = $rig->get("http://127.0.0.1:$edge/");
    is $r->{headers}{'retry-after'}, 2, '... with Retry-After';
    like $r->{content}, qr/"code":"upstream_unavailable"/, '... as a problem';
}

$fake->say(index => 10, list => [e(0, 'passing')]);
becomes('0', 'an instance appears');

$fake->say(index => 11, list => [e(0, 'passing'), e(1, 'passing')]);
becomes('0 1', 'a second one');

# the token is read anew, and never logged

is scalar(grep { !/ first-secret$/ } $fake->asked), 0, 'the token is sent';
token('second-secret');
$fake->say(index => 12, list => [e(0, 'passing'), e(1, 'passing')]);
ok $rig->wait_for('the new token', 5, sub {
    ($fake->asked)[-1] =~ / second-secret$/;
}), 'a rotated one takes its place';
unlike $rig->log('edge'), qr/secret/, 'neither is logged';

# a wake-up that changes nothing is no change

my $changes = metric('opay_peers_changes_total{service="demo"}');
my $asked = $fake->asked;
$fake->say(index => 13, list => [e(1, 'passing'), e(0, 'passing')]);
$rig->wait_for('the next query', 5, sub { $fake->asked > $asked });
is metric('opay_peers_changes_total{service="demo"}'), $changes,
    'the same list in another order is not published again';


# --- health

$fake->say(index => 14, list => [e(0, 'critical'), e(1, 'passing')]);
becomes('1', 'a critical instance gets no requests');

$fake->say(index => 15, list => [e(0, 'critical'), e(1, 'critical')]);
becomes('0 1', 'all critical: all are used');
is metric('opay_peers_panic{service="demo"}'), 1, '... and that is shown';

$fake->say(index => 16, list => [e(0, 'warning'), e(1, 'passing',
    checks => [{ CheckID => '_service_maintenance:demo-1',
                 Status => 'critical' }])]);
becomes('0', 'maintenance gets none, warning does');
is metric('opay_peers{service="demo",state="maintenance"}'), 1,
    '... and that is shown';
is metric('opay_peers_panic{service="demo"}'), 0, '... and no panic';

$fake->say(index => 17, list => [
    e(0, 'passing', service => { Weights => { Passing => 3, Warning => 1 } }),
    e(1, 'passing')]);
becomes('0 1', 'both are back');

{
    my %seen;
    $seen{ $rig->get("http://127.0.0.1:$edge/")->{content} }++ for 1 .. 40;
    is $seen{0}, 30, 'weights are kept to';
}


# --- one bad entry

my $bad = e(1, 'passing');
delete $bad->{Service};

$fake->say(index => 18, list => [$bad, e(0, 'passing')]);
stays('0 1', 'an entry that lost its Service takes nobody away');
is metric('opay_peers_malformed_total{service="demo"}'), 1, '... and counts';

$fake->say(index => 19, list => [e(0, 'passing'), e(1, 'passing'),
    e(2, 'passing', service => { Port => 0 })]);
stays('0 1', 'nor does one without a port');


# --- errors

my $index = 20;

for my $case (
    ['500, no leader', status => 500, body => 'No cluster leader'],
    ['429', status => 429, body => 'rate limit'],
    ['403', status => 403, body => 'Permission denied'],
    ['text', body => 'hello'],
    ['null', body => 'null'],
    ['an object', body => '{}'],
    ['an answer cut off', body => '[{"Node":', cut => 1],
    ['a hang-up', hangup => 1],
    ['an empty answer', body => ''],
) {
    my ($name, %say) = @$case;

    $fake->say(index => $index++, %say);
    stays('0 1', "$name: what was known stays", 'error');
    is metric('opay_consul_up'), 0, '... and Consul is shown to be unwell';

    $fake->say(index => $index++, list => [e(0, 'passing'), e(1, 'passing')]);
    ok $rig->wait_for('Consul to be well', 5, sub {
        metric('opay_consul_up') == 1 }), '... until it is well again';
}

cmp_ok metric('opay_consul_errors_total'), '>', 8, '... and how often';


# --- an agent that forgot everything

$fake->say(index => 2, list => []);

$rig->wait_for('the instances to be suspects', 5, sub {
    metric('opay_peers{service="demo",state="suspect"}') == 2;
});

is reach(), '0 1', 'an agent that forgot all: the instances stay';
is metric('opay_peers_kept{service="demo"}'), 1, '... as suspects';

$fake->say(index => 3, list => [e(2, 'critical')]);
stays('0 1', '... beside one that is not ready yet');

$fake->say(index => 4, list => [map { e($_, 'passing') } 0 .. 2]);
becomes('0 1 2', 'they come back');
is metric('opay_peers{service="demo",state="suspect"}'), 0, '... to be trusted';


# --- an empty list behind an ACL is an error, not a departure

$fake->say(index => 5, list => [],
    headers => { 'X-Consul-Results-Filtered-By-ACLs' => 'true' });
stays('0 1 2', 'filtered by ACLs: nobody left');

$fake->say(index => 6, list => [map { e($_, 'passing') } 0 .. 2]);
$rig->wait_for('trust', 5, sub {
    !metric('opay_peers{service="demo",state="suspect"}') });

$fake->say(index => 7, list => [],
    headers => { 'X-Consul-KnownLeader' => 'false' });
stays('0 1 2', 'no leader: nobody left');

$fake->say(index => 8, list => [map { e($_, 'passing') } 0 .. 2]);
$rig->wait_for('trust', 5, sub {
    !metric('opay_peers{service="demo",state="suspect"}') });


# --- clean departures

$fake->say(index => 9, list => [e(2, 'passing')]);
becomes('2', 'two of three leave cleanly: believed at once');

# an agent that was restarted takes what it forgot out of the catalogue in
# good order, and instances register again within seconds

$fake->say(index => 10, list => []);
stays('2', 'the last left, it seems: held all the same');
is metric('opay_peers{service="demo",state="suspect"}'), 1, '... as a suspect';

$fake->say(index => 11, list => [e(2, 'passing',
    checks => [{ CheckID => '_node_maintenance', Status => 'critical' }])]);
becomes('502', 'maintenance of the last is believed');

like OpayRig::file("$rig->{dir}/edge/state/peers-demo"), qr/:$back[2]\b/,
    'the copy on disk keeps who was there last';


# --- no index, or index 0: still no spin

for my $case (['no index', 'X-Consul-Index' => undef],
              ['index 0', 'X-Consul-Index' => 0])
{
    my ($name, %h) = @$case;

    $fake->say(index => 77, list => [e(1, 'passing')], headers => \%h);
    becomes('1', "$name: the list is used");

    my $n = $fake->asked;
    sleep 2;
    cmp_ok $fake->asked - $n, '<=', 20, '... and Consul is not hammered';
}


# --- the metrics are Prometheus text

SKIP: {
    skip 'no promtool', 1 if system('command -v promtool > /dev/null');

    my $text = $rig->get("http://127.0.0.1:$status/metrics")->{content};
    open my $f, '|-', "promtool check metrics > $rig->{dir}/promtool 2>&1"
        or die $!;
    print $f $text;
    close $f;
    is $?, 0, 'promtool accepts them'
        or diag OpayRig::file("$rig->{dir}/promtool");
}

my $took = $rig->nginx_stop('edge', 'QUIT');
ok defined $took && $took < 2, 'a watch does not hold a quit';

$rig->logs_clean;

done_testing();
