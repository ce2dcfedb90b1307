#!/usr/bin/perl

# Accounts through the public interface: sign up, log in, rotate, log out,
# profiles.  One nginx with the auth and the user service on a real MariaDB
# (tools/with-db.sh), keys and certificates as ./opay up makes them.

use strict;
use warnings;

use JSON::PP qw(decode_json encode_json);
use MIME::Base64 qw(encode_base64url decode_base64url);
use OpayRig;
use Test::More;

plan skip_all => 'run it by ./opay test: no database'
    if !$ENV{OPAY_TEST_DB_SOCKET};

my $rig = OpayRig->new;
my $root = $OpayRig::root;
my $st = "$rig->{dir}/state";

$ENV{OPAY_LOAD} = 'ngx_opay_core_module.so ngx_opay_auth_module.so '
    . 'ngx_opay_user_module.so';

{
    local $ENV{OPAY_STATE} = $st;
    system("bash $root/tools/opay/secrets.sh > /dev/null 2>&1") == 0
        or BAIL_OUT('secrets.sh failed');
}

chomp(my $kid = OpayRig::file("$st/secrets/jwt/current"));

my ($auth, $user, $mesh) = map { $rig->port } 1 .. 3;
my $db = $ENV{OPAY_TEST_DB_SOCKET};
my $dbuser = $ENV{OPAY_TEST_DB_USER};
my $common = <<"END";
        opay_db unix:$db;
        opay_db_user $dbuser;
        opay_pool read rd;
        opay_pool write wr;
        opay_pool hash hs slots=1 wait=20s;
END

# least cost that argon2 takes: these tests are about the flow
my $http = <<"END";
    opay_zone 1m;
    opay_jwt_jwks $st/secrets/jwt/jwks.json;
    opay_jwt_issuer opay-test;
    opay_jwt_audience opay-test;
    server {
        listen 127.0.0.1:$auth;
$common
        opay_db_name opay_auth;
        opay_auth;
        opay_auth_signing_key $st/secrets/jwt/$kid.pem;
        opay_auth_jwks $st/secrets/jwt/jwks.json;
        opay_auth_refresh_key $st/secrets/refresh.key;
        opay_auth_pepper $st/secrets/pepper.key;
        opay_auth_argon2 m=64 t=1 p=1;
        opay_auth_admin root\@opay.test $st/secrets/admin_password;
    }
    server {
        listen 127.0.0.1:$user;
        listen 127.0.0.1:$mesh ssl;
        ssl_certificate $st/tls/user.pem;
        ssl_certificate_key $st/tls/user.key;
        ssl_client_certificate $st/tls/ca.pem;
        ssl_verify_client optional;
        opay_internal_peers sidecar-user;
$common
        opay_db_name opay_user;
        opay_user;
    }
END

$rig->nginx_start('accounts', workers => 1, http => $http,
    main => join '', ($> == 0 ? "user root;\n" : ''),
        map { "thread_pool $_ threads=2;\n" } qw(rd wr hs));

my $n = 0;


sub sql {
    my ($schema, $sql) = @_;
    my $out = `mariadb --defaults-file=$ENV{OPAY_TEST_DB_ADMIN} -N $schema -e "$sql"`;
    chomp $out;
    return $out;
}


# (status, decoded body, headers)

sub call {
    my ($method, $port, $path, $body, %h) = @_;

    my $r = $rig->http($method, "http://127.0.0.1:$port$path",
        headers => { defined $body ? ('content-type' => 'application/json')
                                   : (), %h },
        defined $body ? (body => ref $body ? encode_json($body) : $body) : ());

    my $j = eval { decode_json($r->{content}) };

    return ($r->{status}, $j, $r->{headers}, $r->{content});
}


sub refused {
    my ($name, $status, $code, @call) = @_;
    my ($s, $j, $h) = call(@call);

    is("$s " . ($j->{code} // ''), "$status $code", $name);
    is($h->{'content-type'}, 'application/problem+json', "$name: as problem");

    return $j;
}


sub bearer { return (authorization => "Bearer $_[0]") }


# --- sign up

my %who = (email => ' Ann@Example.COM ', password => 'correct horse 7',
    name => 'Ann', phoneNumber => '010-1234-5678', address => 'Seoul');

my ($s, $ann, $h) = call('POST', $auth, '/api/auth/signup', \%who);

is($s, 201, 'signup: created') or diag($rig->log('accounts'));
is($ann->{email}, 'ann@example.com', 'signup: address normalised');
is_deeply($ann->{roles}, ['USER'], 'signup: role USER');
is($h->{location}, "/api/users/$ann->{id}", 'signup: Location');
is($h->{'cache-control'}, 'no-store', 'signup: not stored');
like($ann->{id}, qr/^[0-9a-f]{8}-[0-9a-f]{4}-7/, 'signup: UUIDv7');

refused('signup: same address', 409, 'email_taken',
    'POST', $auth, '/api/auth/signup', { %who, email => 'ANN@example.com' });

refused("signup: unknown member $_", 400, 'validation_failed',
    'POST', $auth, '/api/auth/signup',
    { %who, email => 'x' . $n++ . '@example.com', $_ => 'ADMIN' })
    for qw(role roles status id);

for my $bad (['/password', password => 'short'],
             ['/password', password => 'password123'],
             ['/email', email => 'nobody'],
             ['/email', email => "a\@b\@c"],
             ['/name', name => ''],
             ['/name', name => "a\x01b"])
{
    my ($pointer, $k, $v) = @$bad;
    my $j = refused("signup: bad $k", 400, 'validation_failed',
        'POST', $auth, '/api/auth/signup',
        { %who, email => 'y' . $n++ . '@example.com', $k => $v });
    is($j->{errors}[0]{pointer}, $pointer, "signup: bad $k is named");
}

is(sql('opay_auth', 'SELECT COUNT(*) FROM users WHERE email LIKE \'%@example.com\''),
    1, 'signup: refused ones left no row');
is(sql('opay_auth', 'SELECT CONCAT(type, version, actor = '
    . "CONCAT('user:', '$ann->{id}')) FROM events WHERE agg_type = 'user' "
    . "AND data LIKE '%ann\@example.com%'"),
    'user.created11', 'signup: one event, by the user');
unlike(sql('opay_auth', 'SELECT password FROM users'), qr/correct horse/,
    'signup: the password is not in the table');


# --- log in

my %login = (email => 'ann@example.com', password => $who{password});
my $t;

($s, $t, $h) = call('POST', $auth, '/api/auth/login', \%login);
is($s, 200, 'login: ok');
is("$t->{tokenType} $t->{expiresIn} $t->{refreshExpiresIn}",
    'Bearer 300 2592000', 'login: shape');
is($h->{'cache-control'}, 'no-store', 'login: not stored');

my ($jh, $jp) = map { decode_json(decode_base64url($_)) }
    (split /\./, $t->{accessToken})[0, 1];

is("$jh->{typ} $jh->{alg} $jh->{kid}", "at+jwt ES256 $kid", 'token: header');
is($jp->{sub}, $ann->{id}, 'token: sub');
is($jp->{exp} - $jp->{iat}, 300, 'token: lives 300 s');
is_deeply($jp->{roles}, ['USER'], 'token: roles');
unlike(join(' ', values %$jp), qr/ann\@/, 'token: no personal data');

my $wrong = refused('login: wrong password', 401, 'invalid_credentials',
    'POST', $auth, '/api/auth/login', { %login, password => 'wrong horse 7' });
my $nobody = refused('login: unknown address', 401, 'invalid_credentials',
    'POST', $auth, '/api/auth/login',
    { %login, email => 'nobody@example.com' });
delete @$_{qw(traceId)} for $wrong, $nobody;
is_deeply($wrong, $nobody, 'login: both refusals are the same');

refused('login: array as password', 400, 'validation_failed',
    'POST', $auth, '/api/auth/login', { %login, password => ['a'] });

sql('opay_auth', "UPDATE users SET status = 'LOCKED'");
refused('login: locked', 401, 'invalid_credentials',
    'POST', $auth, '/api/auth/login', \%login);
refused('refresh: locked', 401, 'refresh_token_invalid',
    'POST', $auth, '/api/auth/refresh', { refreshToken => $t->{refreshToken} });
sql('opay_auth', "UPDATE users SET status = 'ACTIVE'");


# --- refresh: one living generation per session

my $old = $t->{refreshToken};

($s, my $t2) = call('POST', $auth, '/api/auth/refresh', { refreshToken => $old });
is($s, 200, 'refresh: ok');
isnt($t2->{refreshToken}, $old, 'refresh: rotated');
isnt($t2->{accessToken}, $t->{accessToken}, 'refresh: a new access token');

refused('refresh: replay of the old one', 401, 'refresh_token_invalid',
    'POST', $auth, '/api/auth/refresh', { refreshToken => $old });
refused('refresh: the family is dead', 401, 'refresh_token_invalid',
    'POST', $auth, '/api/auth/refresh', { refreshToken => $t2->{refreshToken} });
is(sql('opay_auth', "SELECT GROUP_CONCAT(revoke_reason) FROM sessions"),
    'REUSE', 'refresh: the reuse was committed');
is(sql('opay_auth', "SELECT COUNT(*) FROM events WHERE type = "
    . "'auth.session_revoked'"), 1, 'refresh: and told');

for my $i (0, 20, 40, 60, 93) {
    my $forged = $old;
    substr($forged, $i, 1) = substr($forged, $i, 1) eq 'A' ? 'B' : 'A';
    refused("refresh: forged at $i", 401, 'refresh_token_invalid',
        'POST', $auth, '/api/auth/refresh', { refreshToken => $forged });
}

refused('refresh: an access token', 401, 'refresh_token_invalid',
    'POST', $auth, '/api/auth/refresh', { refreshToken => $t2->{accessToken} });


# 16 at once with one token: one rotation, one successor for all

(undef, $t) = call('POST', $auth, '/api/auth/login', \%login);

{
    my $body = encode_json({ refreshToken => $t->{refreshToken} });
    my @out = map {
        my $f = "$rig->{dir}/r$_";
        my $pid = fork // die;
        if (!$pid) {
            my ($s, $j) = call('POST', $auth, '/api/auth/refresh', $body);
            open my $o, '>', $f or die;
            print $o "$s " . ($j->{refreshToken} // '-');
            close $o;
            POSIX::_exit(0);
        }
        [$pid, $f];
    } 1 .. 16;

    waitpid $_->[0], 0 for @out;
    my %got;
    $got{OpayRig::file($_->[1])}++ for @out;

    # those that began after an answer was out are late, not parallel
    my @ok = grep { /^200/ } keys %got;
    is(scalar @ok, 1, 'race: one successor');
}


# --- log out

(undef, $t) = call('POST', $auth, '/api/auth/login', \%login);
is((call('POST', $auth, '/api/auth/logout',
    { refreshToken => $t->{refreshToken} }))[0], 204, "logout: ok ($_)")
    for 1, 2;
refused('logout: refresh is over', 401, 'refresh_token_invalid',
    'POST', $auth, '/api/auth/refresh', { refreshToken => $t->{refreshToken} });


# --- keys

($s, my $jwks) = call('GET', $auth, '/.well-known/jwks.json');
is("$s $jwks->{keys}[0]{kid}", "200 $kid", 'jwks: the key');
ok(!exists $jwks->{keys}[0]{d}, 'jwks: public half only');


# --- the first admin

ok($rig->wait_for('the admin', 10, sub {
    sql('opay_auth', "SELECT roles FROM users WHERE email = 'root\@opay.test'")
        eq '3';
}), 'admin: made from opay_auth_admin');

chomp(my $secret = OpayRig::file("$st/secrets/admin_password"));
(undef, my $root_t) = call('POST', $auth, '/api/auth/login',
    { email => 'root@opay.test', password => $secret });
my %root = bearer($root_t->{accessToken});


# --- profiles

(undef, $t) = call('POST', $auth, '/api/auth/login', \%login);
my %ann = bearer($t->{accessToken});

($s, my $me, $h) = call('GET', $user, '/api/users/me', undef, %ann);
is($s, 200, 'me: before user.created came');
is("$me->{id} $me->{version} $h->{etag}", "$ann->{id} 1 \"1\"", 'me: stub');
is($me->{email}, undef, 'me: what is not known is null');

refused('users: no token', 401, 'unauthenticated',
    'GET', $user, '/api/users/me');
refused('users: bad token', 401, 'invalid_token',
    'GET', $user, '/api/users/me', undef, bearer($t->{accessToken} . 'x'));
refused('users: another', 404, 'not_found',
    'GET', $user, '/api/users/01900000-0000-7000-8000-000000000000', undef,
    %ann);
is((call('GET', $user, "/api/users/$ann->{id}", undef, %root))[0], 200,
    'users: an admin sees any');

my $json = sql('opay_auth', "SELECT data FROM events WHERE type = "
    . "'user.created' AND data LIKE '%ann\@example.com%'");

sub deliver {
    my ($cert, @events) = @_;

    my $file = "$rig->{dir}/events.json";
    open my $f, '>', $file or die;
    print $f encode_json({ events => \@events });
    close $f;

    my $out = `curl -s -w '\\n%{http_code}' --cacert $st/tls/ca.pem $cert \\
        --connect-to ::127.0.0.1:$mesh -H 'content-type: application/json' \\
        --data-binary \@$file https://user.opay.internal:$mesh/internal/events`;

    my ($body, $code) = $out =~ /^(.*)\n(\d+)$/s;

    return ($code, eval { decode_json($body) });
}

my $cert = "--cert $st/tls/sidecar-user.pem --key $st/tls/sidecar-user.key";
my %ev = (id => "user-$ann->{id}-1", source => '/opay/auth',
    type => 'user.created', aggregate => 'user', aggregateId => $ann->{id},
    key => $ann->{id}, sequence => 1, time => '2026-11-22T09:30:00.123Z',
    traceparent => undef, data => decode_json($json));

is((deliver('', \%ev))[0], 404, 'events: nobody without a certificate');
is((deliver("--cert $st/tls/order.pem --key $st/tls/order.key", \%ev))[0],
    404, 'events: nor another service');

my ($c, $r) = deliver($cert, \%ev, { %ev, id => 'x', sequence => 3 });
is($c, 200, 'events: the sidecar may');
is(join(' ', map { $_->{outcome} } @{ $r->{results} }), 'applied gap',
    'events: in order, a gap is seen');

($c, $r) = deliver($cert, \%ev);
is($r->{results}[0]{outcome}, 'duplicate', 'events: twice is once');

($c, $r) = deliver($cert, { %ev, aggregateId =>
    '01900000-0000-7000-8000-000000000001', data => {} });
is($r->{results}[0]{outcome}, 'rejected', 'events: what lacks data');

($s, $me, $h) = call('GET', $user, '/api/users/me', undef, %ann);
is("$me->{email} $me->{name} $me->{phoneNumber} $h->{etag}",
    'ann@example.com Ann 010-1234-5678 "2"', 'me: filled by the event');

my %put = (name => 'Ann B', phoneNumber => undef, address => 'Busan');

refused('put: without If-Match', 428, 'precondition_required',
    'PUT', $user, '/api/users/me', \%put, %ann);
refused('put: stale', 412, 'version_mismatch',
    'PUT', $user, '/api/users/me', \%put, %ann, 'if-match' => '"1"');
refused('put: unknown member', 400, 'validation_failed',
    'PUT', $user, '/api/users/me', { %put, roles => ['ADMIN'] }, %ann,
    'if-match' => '"2"');

($s, $me, $h) = call('PUT', $user, '/api/users/me', \%put, %ann,
    'if-match' => '"2"');
is("$s $me->{name} $me->{address} $h->{etag}", '200 Ann B Busan "3"',
    'put: changed');
is($me->{phoneNumber}, undef, 'put: null is null');
is(sql('opay_user', "SELECT GROUP_CONCAT(type, version) FROM events"),
    'user.updated1', 'put: one event');

is($rig->http('GET', "http://127.0.0.1:$user/api/users/me",
    headers => { %ann, 'if-none-match' => '"3"' })->{status}, 304,
    'get: not modified');


# --- nothing secret in the logs

my $log = $rig->log('accounts')
    . OpayRig::file("$rig->{dir}/accounts/logs/access.log");

unlike($log, qr/\Q$_\E/, 'log: no secret')
    for $who{password}, $t->{accessToken}, $t->{refreshToken}, 'ann@example';

$rig->nginx_stop('accounts');
$rig->logs_clean;

done_testing;
