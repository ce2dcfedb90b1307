#!/usr/bin/perl

# The role table, as a matrix of who asks for what: deny by default, one
# problem+json form for every refusal, WWW-Authenticate as the contract has
# it, nothing that a client says about itself gets through, and no way around
# the check by `satisfy any`, another spelling of the path or an internal
# redirect.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP qw(decode_json);
use OpayMint;
use OpayRig;
use Test::More;

my $rig = OpayRig->new;
my $mint = OpayMint->new($rig->{dir});
my ($edge, $back, $bare) = map { $rig->port } 1 .. 3;
my $user = OpayMint::uuid();
my $admin = OpayMint::uuid();

# what the shipped configuration says about headers, word for word

my $strip = join "\n", grep { /^\s*proxy_set_header/ }
    split /\n/, OpayRig::file("$OpayRig::root/conf/include/proxy.conf.in");

like $strip, qr/X-User-Id/, 'the shipped header rules were found';

$rig->nginx_start('edge', workers => 1, http => <<"END");
    @{[ $mint->conf ]}
    log_format who '\$opay_user_id|\$opay_roles|\$status';

    server {
        listen 127.0.0.1:$edge;
        access_log $rig->{dir}/edge/logs/who who;

        opay_route "GET"       "/open/{id}"        public;
        opay_route "GET, PUT"  "/mine/{id}"        user;
        opay_route "DELETE"    "/mine/{id}"        admin;
        opay_route "POST"      "/mine/{id}/move"   user;
        opay_route "GET"       "/mine/special"     admin;
        opay_route "GET"       /all                admin;
        opay_route "GET"       "/mine/{id}/sendfile"  user;
        opay_route "GET"       /loose              user;

        $strip
        proxy_http_version 1.1;

        location / { proxy_pass http://127.0.0.1:$back; }
        location /loose { satisfy any; allow all; proxy_pass http://127.0.0.1:$back; }
        location /secret { internal; proxy_pass http://127.0.0.1:$back; }
    }

    # no routes: the module keeps out of it
    server {
        listen 127.0.0.1:$bare;
        location / { return 200 bare; }
    }

    server {
        listen 127.0.0.1:$back;
        opay_problem off;

        location ~ /sendfile\$ {
            add_header X-Accel-Redirect /secret;
            return 200 "";
        }

        location / {
            return 200 "\$request_method|\$http_authorization|\$http_x_user_id|\$http_x_user|\$http_x_user_role|\$http_x_user_roles|\$http_x_roles|\$http_x_internal|\$http_x_forwarded_for|\$http_forwarded|\$http_x_forwarded_client_cert";
        }
    }
END

my $url = "http://127.0.0.1:$edge";

my %who = (
    nobody  => {},
    user    => $mint->bearer($user),
    admin   => $mint->bearer($admin, roles => ['USER', 'ADMIN']),
    expired => $mint->bearer($user, ttl => -60),
    forged  => { Authorization => 'Bearer ' . tamper($mint->token($user,
                 roles => ['ADMIN'])) },
    basic   => { Authorization => 'Basic dTpw' },
    empty   => { Authorization => 'Bearer ' },
);


sub tamper {
    my ($t) = @_;

    my ($h, $p, $s) = split /\./, $t;
    substr($s, 3, 1) = substr($s, 3, 1) eq 'A' ? 'B' : 'A';

    return "$h.$p.$s";
}


# method, path => what each of them gets

my @matrix = (
    # method, path,             nobody user admin forged expired
    ['GET',    '/open/1',          200, 200, 200, 200, 200],
    ['HEAD',   '/open/1',          200, 200, 200, 200, 200],
    ['POST',   '/open/1',          405, 405, 405, 405, 405],
    ['GET',    '/mine/1',          401, 200, 200, 401, 401],
    ['HEAD',   '/mine/1',          401, 200, 200, 401, 401],
    ['PUT',    '/mine/1',          401, 200, 200, 401, 401],
    ['DELETE', '/mine/1',          401, 403, 200, 401, 401],
    ['PATCH',  '/mine/1',          405, 405, 405, 405, 405],
    ['OPTIONS', '/mine/1',         405, 405, 405, 405, 405],
    ['TRACE',  '/mine/1',          405, 405, 405, 405, 405],
    ['PURGE',  '/mine/1',          405, 405, 405, 405, 405],
    ['POST',   '/mine/1/move',     401, 200, 200, 401, 401],
    ['GET',    '/mine/special',    401, 403, 200, 401, 401],
    ['PUT',    '/mine/special',    401, 200, 200, 401, 401],
    ['GET',    '/all',             401, 403, 200, 401, 401],
    ['GET',    '/loose',           401, 200, 200, 401, 401],

    # unknown to all
    ['GET',    '/',                404, 404, 404, 404, 404],
    ['GET',    '/none',            404, 404, 404, 404, 404],
    ['GET',    '/mine',            404, 404, 404, 404, 404],
    ['GET',    '/mine/',           404, 404, 404, 404, 404],
    ['GET',    '/mine/1/',         404, 404, 404, 404, 404],
    ['GET',    '/mine/1/2/3',      404, 404, 404, 404, 404],
    ['GET',    '/All',             404, 404, 404, 404, 404],
    ['GET',    '/internal/events', 404, 404, 404, 404, 404],
    ['GET',    '/secret',          404, 404, 404, 404, 404],

    # other spellings of a known path
    ['GET',    '/open/../all',     401, 403, 200, 401, 401],
    ['GET',    '//all',            401, 403, 200, 401, 401],
    ['GET',    '/%61ll',           401, 403, 200, 401, 401],
    ['GET',    '/open/%2e%2e/all', 401, 403, 200, 401, 401],
    ['GET',    '/all?x=/open/1',   401, 403, 200, 401, 401],
    ['GET',    '/all%3fx',         404, 404, 404, 404, 404],
    ['GET',    '/open/1/../../mine/special', 401, 403, 200, 401, 401],
    ['GET',    '/open/x%2fy',      404, 404, 404, 404, 404],
);

for my $row (@matrix) {
    my ($method, $path, @want) = @$row;

    for my $name (qw(nobody user admin forged expired)) {
        my $want = shift @want;
        my $r = $rig->http($method, $url . $path, headers => $who{$name});

        is $r->{status}, $want, "$method $path for $name";

        next if $want < 400 || $method eq 'HEAD';

        my $p = eval { decode_json($r->{content}) } || {};

        is $p->{status}, $want, "... says so in problem+json"
            or diag $r->{content};
    }
}


# --- the form of refusals

sub refusal {
    my ($r, $status, $code, $www, $name) = @_;

    my $p = eval { decode_json($r->{content}) } || {};

    is $r->{status}, $status, "$name: status";
    is $r->{headers}{'content-type'}, 'application/problem+json', '... type';
    is $p->{code}, $code, '... code';
    like $p->{traceId} || '', qr/^[0-9a-f]{32}$/, '... traceId';
    is $p->{instance}, '/mine/1', '... instance';
    is $r->{headers}{'www-authenticate'}, $www, '... WWW-Authenticate';
    like $r->{headers}{'x-request-id'} || '', qr/^[0-9a-f]{32}$/,
        '... X-Request-Id';
}

my $realm = 'Bearer realm="opay"';
my $bad = "$realm, error=\"invalid_token\"";

refusal($rig->get("$url/mine/1"), 401, 'unauthenticated', $realm, 'no token');

for my $name (qw(expired forged empty)) {
    refusal($rig->get("$url/mine/1", headers => $who{$name}), 401,
        'invalid_token', $bad, $name);
}

refusal($rig->http('DELETE', "$url/mine/1", headers => $who{user}), 403,
    'forbidden', undef, 'no role');

is $rig->get("$url/mine/1", headers => $who{basic})->{status}, 401,
    'another scheme is no token';

my $r = $rig->http('PATCH', "$url/mine/1", headers => $who{user});
is $r->{headers}{allow}, 'GET, PUT, DELETE, HEAD', 'Allow names the methods';

# those of both templates that the path fits
$r = $rig->http('PATCH', "$url/mine/special");
is $r->{headers}{allow}, 'GET, PUT, DELETE, HEAD', '... of every template';

is $rig->get("$url/open/1", headers => $who{forged})->{status}, 200,
    'a bad token does not close a public route';

is $rig->get("http://127.0.0.1:$bare/x")->{content}, 'bare',
    'a server without routes is not touched';


# --- two Authorization headers, a body that is refused, pipelining

sub raw {
    my ($text) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $edge,
        Timeout => 5) or die $!;

    print $s $text;
    local $/;

    return scalar <$s>;
}

like raw("GET /mine/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    . "Authorization: $who{user}{Authorization}\r\n"
    . "Authorization: $who{admin}{Authorization}\r\n\r\n"),
    qr{^HTTP/1\.1 400 .*application/problem\+json}s,
    'two Authorization headers are refused';

my @got = raw("POST /mine/1/move HTTP/1.1\r\nHost: x\r\n"
    . "Content-Length: 5\r\n\r\nhello"
    . "GET /open/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    =~ m{HTTP/1\.1 (\d+)}g;

is "@got", '401 200', 'a refused body does not spoil the connection';


# --- what reaches the service

$r = $rig->get("$url/mine/1", headers => {
    %{ $who{user} },
    'X-User-Id' => 'me', 'X-User' => 'me', 'X-User-Role' => 'ADMIN',
    'X-User-Roles' => 'ADMIN', 'X-Roles' => 'ADMIN', 'X-Internal' => '1',
    'X-Forwarded-For' => '6.6.6.6', 'Forwarded' => 'for=6.6.6.6',
    'X-Forwarded-Client-Cert' => 'x', 'x_user_id' => 'me' });

is $r->{content}, "GET|$who{user}{Authorization}|||||||127.0.0.1||",
    'the token goes on, what a client says about itself does not';

$r = $rig->http('HEAD', "$url/mine/1", headers => $who{user});
is $r->{content} // '', '', 'HEAD has no body';


# --- an internal redirect is checked again

is $rig->get("$url/mine/1/sendfile", headers => $who{admin})->{status}, 404,
    'X-Accel-Redirect to what has no route is refused';


# --- variables

my @log;

$rig->wait_for('the access log', 5, sub {
    @log = split /\n/, OpayRig::file("$rig->{dir}/edge/logs/who");
    @log && $log[-1] =~ /404$/;
});

ok scalar(grep { $_ eq "$user|USER|200" } @log), '$opay_user_id, $opay_roles';
ok scalar(grep { $_ eq "$admin|USER,ADMIN|200" } @log), '... of an admin';
ok scalar(grep { $_ eq '-|-|401' } @log), '... of nobody';

my $log = $rig->log('edge');

unlike $log, qr/\[error\]/, "a client's mistakes are not ours";
like $log, qr/\[info\].*access token refused: \w+/, 'they are noted at info';

# nginx itself quotes a repeated header, at info
$log =~ s/client sent duplicate header line.*//g;
unlike $log, qr/eyJ/, 'no token is logged';

$rig->nginx_stop('edge');
$rig->logs_clean;

done_testing();
