#!/usr/bin/perl

# Who may: tokens through HTTP, the cache of verified ones, and the callers of
# internal routes by their certificates.  Tokens and certificates are made
# with openssl, not with the code that checks them.

use strict;
use warnings;

use MIME::Base64 qw(encode_base64url decode_base64url);
use OpayMint;
use OpayProbe;
use OpayRaw;
use OpayRig;
use Test::More;

OpayProbe::build();

my $rig = OpayRig->new;
my $mint = OpayMint->new($rig->{dir});
my ($port, $status, $mesh, $nokeys) = map { $rig->port } 1 .. 4;

$mint->cert($_) for qw(server order stranger);

$rig->nginx_start('t', workers => 1, main => OpayProbe::main(),
    http => <<"END");
    @{[ $mint->conf ]}
    opay_zone 1m;
    large_client_header_buffers 4 32k;
    server {
        listen 127.0.0.1:$port;
        listen 127.0.0.1:$mesh ssl;
        ssl_certificate $rig->{dir}/server.pem;
        ssl_certificate_key $rig->{dir}/server.key;
        ssl_client_certificate $rig->{dir}/ca.pem;
        ssl_verify_client optional;
        opay_internal_peers order payment;
@{[ OpayProbe::server() ]}
    }
    server {
        listen 127.0.0.1:$status;
        location / { opay_status; }
    }
END

my $url = "http://127.0.0.1:$port";
my $user = OpayMint::uuid();
my $now = time;


sub who {
    my ($token, $path) = @_;

    return $rig->get($url . ($path || '/t/who'), headers =>
        defined $token ? { Authorization => $token } : {});
}


sub refused {
    my ($r, $name, $code) = @_;

    my $p = OpayRaw::json({ body => $r->{content} });

    is $r->{status}, 401, "$name: 401";
    is $p->{code}, $code || 'invalid_token', "$name: code";
    is $r->{headers}{'www-authenticate'}, ($code || '') eq 'unauthenticated'
        ? 'Bearer realm="opay"'
        : 'Bearer realm="opay", error="invalid_token"', "$name: challenge";
}


# --- good ones

my $token = $mint->token($user);

is who("Bearer $token")->{content}, qq({"user":"$user","roles":1}),
    'a good token';
is who("bearer $token")->{status}, 200, 'the scheme in any case';
is who("Bearer $token", '/t/admin')->{status}, 403, 'a user is no admin';
is OpayRaw::json({ body => who("Bearer $token", '/t/admin')->{content} })
    ->{code}, 'forbidden', '... code';
is who('Bearer ' . $mint->token($user, roles => ['USER', 'ADMIN']),
    '/t/admin')->{status}, 200, 'an admin is one';
is who("Bearer rubbish", '/t/etag')->{status}, 200,
    'a public route minds no token';
is who('Bearer ' . $mint->token($user, claims => { iat => $now - 100,
    exp => $now - 1 }))->{status}, 200, 'leeway';


# --- bad ones

refused(who(), 'none', 'unauthenticated');
refused(who(undef, '/t/admin'), 'none, admin', 'unauthenticated');

my ($h, $c, $s) = split /\./, $token;
my $none = encode_base64url('{"alg":"none","typ":"at+jwt"}');
my $hs = encode_base64url(
    qq({"alg":"HS256","kid":"$mint->{kid}","typ":"at+jwt"}));
my $other = encode_base64url(
    '{"alg":"ES256","kid":"unknown","typ":"at+jwt"}');
my $id = encode_base64url(
    qq({"alg":"ES256","kid":"$mint->{kid}","typ":"JWT"}));
(my $forged = decode_base64url($c)) =~ s/"USER"/"ADMIN"/;
my $flip = $s;
substr($flip, 10, 1) = substr($flip, 10, 1) eq 'A' ? 'B' : 'A';

for my $case (
    ['expired', $mint->token($user, claims => { iat => $now - 300,
        exp => $now - 60 })],
    ['ends before it begins', $mint->token($user, ttl => -3)],
    ['not yet', $mint->token($user, claims => { nbf => $now + 600 })],
    ['of tomorrow', $mint->token($user, claims => { iat => $now + 600,
        exp => $now + 900 })],
    ['lives too long', $mint->token($user, ttl => 86400)],
    ['wrong audience', $mint->token($user, claims => { aud => 'other' })],
    ['wrong issuer', $mint->token($user, claims => { iss => 'evil' })],
    ['no subject', $mint->token('')],
    ['subject that is no id', $mint->token('root')],
    ['exp as text', $mint->token($user, claims => { exp => 'never' })],
    ['alg none', "$none.$c."],
    ['alg none, signed', "$none.$c.$s"],
    ['another alg', "$hs.$c.$s"],
    ['unknown key', "$other.$c.$s"],
    ['no access token', "$id.$c.$s"],
    ['tampered claims', join('.', $h, encode_base64url($forged), $s)],
    ['tampered signature', "$h.$c.$flip"],
    ['cut', "$h.$c"],
    ['cut signature', "$h.$c." . substr($s, 0, 40)],
    ['four parts', "$token.x"],
    ['padded', "$token="],
    ['a space inside', "$h. $c.$s"],
    ['too long', 'x' x 20000],
    ['nothing', ''],
    ['rubbish', 'rubbish'])
{
    my ($name, $bad) = @$case;

    refused(who("Bearer $bad"), $name);
}

refused(who("Basic dXNlcjpwYXNz"), 'another scheme');
refused(who("Bearer  $token"), 'two spaces');


# (nginx itself logs a duplicate header in full, as information)

unlike $rig->log('t'), qr/\Q$s\E|eyJ/, 'no token in the log';


# --- two headers: no choice is the right one

{
    my $c = OpayRaw->new($port);
    $c->send("GET /t/who HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        . "Authorization: Bearer $token\r\nAuthorization: Bearer x\r\n\r\n");
    is $c->response->{status}, 400, 'two Authorization headers';
}


# --- the cache: verified once, counted, and never longer than the token

sub jwt {
    my ($result) = @_;

    my $text = $rig->get("http://127.0.0.1:$status/metrics")->{content};

    return $text =~ /^opay_jwt_total\{result="$result"\} (\d+)/m ? $1 : -1;
}

{
    my $fresh = 'Bearer ' . $mint->token($user);
    my ($v, $hit, $rej) = map { jwt($_) } qw(verified cached rejected);

    who($fresh) for 1 .. 5;
    who('Bearer x');

    is jwt('verified') - $v, 1, 'verified once';
    is jwt('cached') - $hit, 4, 'taken from the cache four times';
    is jwt('rejected') - $rej, 1, 'one was refused';

    my $short = 'Bearer ' . $mint->token($user, claims => {
        iat => time - 100, exp => time - 2 });

    is who($short)->{status}, 200, 'a token at its end';
    ok $rig->wait_for('it to end', 10, sub {
        who($short)->{status} == 401
    }), 'the cache does not outlive it';
}

unlike $rig->log('t'), qr/\[error\].*token/, 'a bad token is no error of ours';


# --- internal routes

sub internal {
    my ($name) = @_;

    my $cert = $name ? "--cert $rig->{dir}/$name.pem --key"
        . " $rig->{dir}/$name.key" : '';

    my $host = "server.opay.internal:$mesh";

    return `curl -s $cert --cacert $rig->{dir}/ca.pem \\
        --resolve $host:127.0.0.1 -w ' %{http_code}' \\
        https://$host/internal/peer`;
}

is internal('order'), '{"peer":"order"} 200', 'a peer on the list';
like internal('stranger'), qr/"code":"not_found".* 404$/,
    'a certificate that is not on the list';
like internal(), qr/"code":"not_found".* 404$/, 'no certificate';
is $rig->get("$url/internal/peer")->{status}, 404, 'no TLS';

{
    # the same name from another authority
    my $evil = OpayRig->new;
    my $m = OpayMint->new($evil->{dir});
    $m->cert('order');
    system "cp $evil->{dir}/order.pem $rig->{dir}/evil.pem;"
        . "cp $evil->{dir}/order.key $rig->{dir}/evil.key";
    like internal('evil'), qr/ (400|000)$/, "another authority's \"order\"";
    unlike internal('evil'), qr/"peer"/, '... gets nothing';
}

$rig->nginx_stop('t');
$rig->logs_clean;

done_testing;
