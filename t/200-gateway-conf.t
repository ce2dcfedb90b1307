#!/usr/bin/perl

# Directives of the gateway and of discovery refuse what cannot be meant, and
# say which directive it was.  What is refused at "nginx -t" cannot fail open
# at run time.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use OpayRig;
use Test::More;

my $rig = OpayRig->new;
my $port = $rig->port;
my $server = "server { listen 127.0.0.1:$port; ";
my $consul = 'opay_consul http://127.0.0.1:1;';
my $reg = "$consul opay_register name=a address=127.0.0.1 port=1 "
    . 'check=http://127.0.0.1:1/';


sub refused {
    my ($http, $why, $name) = @_;

    $rig->nginx_conf('t', http => $http);
    my ($code, $out) = $rig->nginx_test('t');

    $name ||= $http;
    $name =~ s/\s+/ /g;

    isnt $code, 0, "refused: $name";
    like $out, $why, "... and says why";
    like $out, qr{nginx\.conf:\d+|opay_|"\w+"}, '... and where';
}


sub accepted {
    my ($http, $name) = @_;

    $rig->nginx_conf('t', http => $http);
    my ($code, $out) = $rig->nginx_test('t');

    is $code, 0, "accepted: " . ($name || $http) or diag $out;
    unlike $out, qr/\[(warn|error|alert)\]/, '... without a murmur';
}


# --- opay_route

for my $case (
    ['"GET" /a', qr/invalid number of arguments in "opay_route"/],
    ['"GET" /a nobody', qr/invalid role "nobody"/],
    ['"GET" /a USER', qr/invalid role "USER"/],
    ['"get" /a user', qr/invalid method "get"/],
    ['"GET,FETCH" /a user', qr/invalid method "FETCH"/],
    ['"HEAD" /a user', qr/invalid method "HEAD"/],
    ['"" /a user', qr/"opay_route" directive needs a method/],
    ['"GET" a user', qr/"opay_route" directive needs a path/],
    ['"GET" "" user', qr/"opay_route" directive needs a path/],
    ['"GET" /a/ user', qr/empty or dot segment/],
    ['"GET" //a user', qr/empty or dot segment/],
    ['"GET" /a/../b user', qr/empty or dot segment/],
    ['"GET" /a/. user', qr/empty or dot segment/],
    ['"GET" "/a/{b}c" user', qr/whole segment/],
    ['"GET" "/a/{}" user', qr/whole segment/],
    ['"GET" "/a/{b" user', qr/whole segment/],
    ['"GET" "/a b" user', qr/character that no decoded path needs/],
    ['"GET" "/a?x=1" user', qr/character that no decoded path needs/],
    ['"GET" "/a%20b" user', qr/character that no decoded path needs/],
    ['"GET GET" /a user', qr/method "GET" of "\/a" has a route already/],
) {
    refused("$server opay_route $case->[0]; }", $case->[1]);
}

refused("$server opay_route GET \"/a/{id}\" user;"
    . ' opay_route "PUT GET" "/a/{name}" public; }',
    qr/method "GET" of "\/a\/\{id\}" has a route already/);
refused('opay_route GET /a user;', qr/"opay_route" directive is not allowed/);

accepted("$server opay_route \"GET,PUT DELETE\" \"/a/{id}\" user;"
    . ' opay_route POST "/a/{id}" admin; opay_route GET /a/b public;'
    . ' opay_route GET / public; }');


# --- opay_rate_limit

for my $case (
    ['10', qr/invalid rate "10"/], ['0r/s', qr/invalid rate "0r\/s"/],
    ['10r/h', qr/invalid rate/], ['10r/s burst=0', qr/parameter "burst=0"/],
    ['10r/s burst=x', qr/parameter "burst=x"/],
    ['10r/s size=1k', qr/parameter "size=1k"/],
    ['10r/s nodelay', qr/parameter "nodelay"/],
    ['10r/s; opay_rate_limit 5r/s', qr/"opay_rate_limit" directive is dupl/],
) {
    refused("$server opay_rate_limit $case->[0]; }", $case->[1]);
}

accepted("$server opay_route GET / public; opay_rate_limit 600r/m burst=20"
    . ' size=64k; }');


# --- opay_consul, opay_register, opay_watch, opay_state_dir

for my $case (
    ['opay_consul', qr/invalid number of arguments in "opay_consul"/],
    ['opay_consul 127.0.0.1:8500', qr/invalid agent "127.0.0.1:8500"/],
    ['opay_consul http://', qr/invalid agent/],
    ['opay_consul http://u:p@h', qr/invalid agent/],
    ['opay_consul http://h/v1', qr/invalid agent/],
    ['opay_consul http://h token=x', qr/invalid parameter "token=x"/],
    ['opay_consul http://h; opay_consul http://h', qr/"opay_consul" directi/],
    ['opay_watch a', qr/service "a" needs "opay_consul" or a fallback/],
    ['opay_watch a/b', qr/invalid service name "a\/b"/],
    ['opay_watch ' . 'a' x 64, qr/invalid service name/],
    ['opay_watch a fallback=localhost:1', qr/fallback=<ip>:<port> is expect/],
    ['opay_watch a fallback=1.2.3.4', qr/fallback=<ip>:<port> is expected/],
    ['opay_watch a backup=1.2.3.4:1', qr/invalid parameter "backup=/],
    ['opay_state_dir /does/not/exist', qr/"\/does\/not\/exist" is not a dir/],
    ['opay_register name=a address=127.0.0.1 port=1 check=http://h',
     qr/"opay_register" needs "opay_consul"/],
    ["$consul opay_register address=127.0.0.1 port=1 check=http://h",
     qr/"opay_register" directive needs name=/],
    ["$consul opay_register name=a port=1 check=http://h",
     qr/"opay_register" directive needs address=/],
    ["$consul opay_register name=a address=host port=1 check=http://h",
     qr/needs address=<IP address> and port=/],
    ["$consul opay_register name=a address=127.0.0.1 port=70000 check=http:",
     qr/needs address=<IP address> and port=/],
    ["$consul opay_register name=a address=127.0.0.1 port=1",
     qr/"opay_register" directive needs check=/],
    ["$reg interval=1x", qr/"opay_register" directive has an invalid interv/],
    ["$reg id=a/b", qr/"opay_register" directive has an invalid id/],
    ["$reg tags=x", qr/invalid parameter "tags=x"/],
    ["$reg name=b", qr/invalid parameter "name=b"/],
    ["$reg; opay_register name=a address=127.0.0.1 port=1 check=http://h",
     qr/"opay_register" directive is duplicate/],
) {
    refused("$case->[0];", $case->[1]);
}

accepted("$reg id=a-1 interval=500ms; opay_watch b;"
    . ' opay_watch c fallback=127.0.0.1:1 fallback=[::1]:2;');
accepted('opay_watch c fallback=127.0.0.1:1;', 'fallback without Consul');


# --- opay_discover

for my $case (
    ['opay_discover;', qr/number of arguments in "opay_discover"/],
    ['opay_discover a; opay_discover a;', qr/"opay_discover" directive is du/],
    ['server 127.0.0.1:1; opay_discover a;', qr/excludes "server"/],
    ['opay_discover a; server 127.0.0.1:1;', qr/excludes "server"/],
    ['keepalive 2; opay_discover a;', qr/must come before "keepalive"/],
    ['least_conn; opay_discover a;', qr/excludes other balancers/],
    ['zone z 64k; opay_discover a;', qr/excludes "zone"/],
    ['opay_discover a fallback=x;', qr/fallback=<ip>:<port> is expected/],
) {
    refused("$consul upstream u { $case->[0] } $server"
        . ' location / { proxy_pass http://u; } }', $case->[1], $case->[0]);
}

accepted("$consul upstream u { opay_discover a; keepalive 4; }"
    . " $server location / { proxy_pass http://u; } }");

refused("$consul upstream u { opay_discover a; } "
    . join('', map { "opay_watch s$_;" } 1 .. 32),
    qr/more than 32 services are watched/, '33 services');



# --- no http{} at all, and one process for everything

{
    my $dir = $rig->nginx_conf('bare', http => '');
    my $text = OpayRig::file("$dir/nginx.conf");
    $text =~ s/http \{.*//s;
    open my $f, '>', "$dir/nginx.conf" or die $!;
    print $f $text;
    close $f;

    my ($code, $out) = $rig->nginx_test('bare');
    is $code, 0, 'the modules load without http{}' or diag $out;
}

$rig->nginx_start('bare', main => 'master_process off;',
    http => "$reg; opay_watch b; $server location / { return 204; } }");

ok $rig->wait_for('an answer', 5, sub {
    $rig->get("http://127.0.0.1:$port/")->{status} == 204;
}), 'master_process off';

my $took = $rig->nginx_stop('bare', 'QUIT');
ok defined $took && $took < 3, '... and it ends';
unlink "$rig->{dir}/t/logs/error.log";
$rig->logs_clean;

done_testing();
