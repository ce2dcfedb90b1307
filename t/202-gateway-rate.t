#!/usr/bin/perl

# opay_rate_limit: exact per user over all workers and over a reload, separate
# per user, per address where nobody is known, with the fields of the
# RateLimit draft and a Retry-After that is true.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use JSON::PP qw(decode_json);
use OpayMint;
use OpayRig;
use Test::More;
use Time::HiRes qw(time sleep);

my $rig = OpayRig->new;
my $mint = OpayMint->new($rig->{dir});
my ($edge, $fast) = map { $rig->port } 1 .. 2;

my %conf = (workers => 2, http => <<"END");
    @{[ $mint->conf ]}

    server {
        listen 127.0.0.1:$edge reuseport;
        opay_route "GET" /open   public;
        opay_route "GET" /mine   user;
        opay_route "GET" /admin  admin;
        opay_rate_limit 60r/m burst=10;
        location / { error_page 418 = /open; return 418; }
        location /mine { try_files /none =204; }
        location /open { try_files /none =204; }
        location /admin { try_files /none =204; }
    }

    server {
        listen 127.0.0.1:$fast;
        opay_route "GET" /open   public;
        opay_rate_limit 2r/s burst=1;
        location / { try_files /none =204; }
    }
END

$rig->nginx_start('edge', %conf);

my $url = "http://127.0.0.1:$edge";
my %who = map { $_ => $mint->bearer(OpayMint::uuid()) } qw(a b c);


# statuses of n requests

sub burst {
    my ($n, $path, $who) = @_;

    my %seen;
    $seen{ $rig->get($url . $path, headers => $who)->{status} }++ for 1 .. $n;

    return \%seen;
}


my $r = $rig->get("$url/mine", headers => $who{a});

is $r->{status}, 204, 'the first passes';
is $r->{headers}{'ratelimit-policy'}, '"user";q=10;w=10', 'RateLimit-Policy';
is $r->{headers}{ratelimit}, '"user";r=9;t=1', 'RateLimit';
ok !exists $r->{headers}{'retry-after'}, 'no Retry-After yet';

my $t = time;
my $seen = burst(40, '/mine', $who{a});
my $refilled = int(time - $t) + 1;

cmp_ok $seen->{204}, '>=', 9, 'all workers together give the burst';
cmp_ok $seen->{204}, '<=', 9 + $refilled, '... and no more';
is $seen->{204} + $seen->{429}, 40, 'the rest is refused';

$r = $rig->get("$url/mine", headers => $who{a});
my $p = decode_json($r->{content});

is $r->{status}, 429, 'refused';
is $r->{headers}{'content-type'}, 'application/problem+json', '... type';
is $p->{code}, 'rate_limited', '... code';
is $r->{headers}{'retry-after'}, 1, '... Retry-After';
is $r->{headers}{ratelimit}, '"user";r=0;t=1', '... RateLimit';
is $r->{headers}{'ratelimit-policy'}, '"user";q=10;w=10', '... and the policy';

sleep 1.05;
is $rig->get("$url/mine", headers => $who{a})->{status}, 204,
    'Retry-After was true';


# --- others are not touched

is_deeply burst(10, '/mine', $who{b}), { 204 => 10 },
    'another user has a bucket of his own';
is_deeply burst(10, '/open', {}), { 204 => 10 }, 'so has an address';
is $rig->get("$url/open")->{status}, 429, '... which ends too';
is $rig->get("$url/open")->{headers}{ratelimit}, '"ip";r=0;t=1',
    '... and says what it counts';
is $rig->get("$url/open", headers => $who{c})->{status}, 204,
    'a known user is counted as himself on a public route';

# a refused token takes nothing from anybody, nor does a token unused

is $rig->get("$url/mine")->{status}, 401, 'no token: 401, not 429';

# forbidden calls count: they cost us as much

$seen = burst(12, '/admin', $who{c});
cmp_ok $seen->{403}, '<=', 10, 'forbidden calls are counted';
cmp_ok $seen->{429}, '>=', 1, '... and limited';


# --- a reload keeps the buckets

$seen = burst(11, '/mine', $who{b});
my @old = $rig->workers('edge');
$rig->signal('edge', 'HUP');
$rig->wait_for('new workers', 10, sub {
    my %now = map { $_ => 1 } $rig->workers('edge');
    !grep { $now{$_} } @old;
});
$seen = burst(11, '/mine', $who{b});
ok $seen->{429}, 'a reload does not refill';


# --- an internal redirect is one request

my %d = map { $_ => $mint->bearer(OpayMint::uuid()) } qw(d);
$r = $rig->get("$url/mine", headers => $d{d});
is $r->{headers}{ratelimit}, '"user";r=9;t=1', 'one request, one token';

my $url2 = "http://127.0.0.1:$fast/open";
is $rig->get($url2)->{status}, 204, 'each server has its own limit';
is $rig->get($url2)->{status}, 429, '...';
sleep 0.55;
is $rig->get($url2)->{status}, 204, '... of fractions of a second';

$rig->nginx_stop('edge');
$rig->logs_clean;

done_testing();
