#!/usr/bin/perl

# One connection, several requests: what was refused, or had a body that
# nobody read, must not be taken for the beginning of the next.

use strict;
use warnings;

use OpayProbe;
use OpayRaw;
use OpayRig;
use Test::More;

OpayProbe::build();

my $rig = OpayRig->new;
my $port = $rig->port;

$rig->nginx_start('t', workers => 1, main => OpayProbe::main(),
    http => "client_body_buffer_size 1k;\n"
        . "server { listen 127.0.0.1:$port;\n" . OpayProbe::server() . '}');

my $good = "GET /t/echo/x/and/y HTTP/1.1\r\nHost: t\r\n\r\n";
my $post = "Content-Type: application/json\r\n";


# --- keep-alive: after each of these, the same connection serves a request

for my $case (
    ['404', 404, "GET /nothing HTTP/1.1\r\nHost: t\r\n\r\n"],
    ['405', 405, "DELETE /t/etag HTTP/1.1\r\nHost: t\r\n\r\n"],
    ['401', 401, "GET /t/who HTTP/1.1\r\nHost: t\r\n\r\n"],
    ['404 with a body', 404, "POST /nothing HTTP/1.1\r\nHost: t\r\n"
        . "Content-Length: 5\r\n\r\nGET /"],
    ['404 with a chunked body', 404, "POST /nothing HTTP/1.1\r\nHost: t\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ['405 with a body', 405, "PUT /t/etag HTTP/1.1\r\nHost: t\r\n"
        . "Content-Length: 3000\r\n\r\n" . 'x' x 3000],
    ['415 with a body', 415, "POST /t/echo HTTP/1.1\r\nHost: t\r\n"
        . "Content-Length: 7\r\n\r\n{\"a\":1}"],
    ['GET with a body', 200, "GET /t/etag HTTP/1.1\r\nHost: t\r\n"
        . "Content-Length: 9\r\n\r\nGET / HTT"],
    ['GET with a chunked body', 200, "GET /t/etag HTTP/1.1\r\nHost: t\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"],
    ['200 of a POST', 200, "POST /t/echo HTTP/1.1\r\nHost: t\r\n$post"
        . "Content-Length: 7\r\n\r\n{\"a\":1}"],
    ['200 of a thread', 200, "GET /t/sleep?ms=1 HTTP/1.1\r\nHost: t\r\n\r\n"],
    ['503 without a database', 503,
        "GET /t/read-sleep?ms=1 HTTP/1.1\r\nHost: t\r\n\r\n"])
{
    my ($name, $status, $text) = @$case;

    my $c = OpayRaw->new($port);
    $c->send($text);
    my $r = $c->response;

    is $r->{status}, $status, "$name: $status";

    $c->send($good);
    $r = $c->response || {};

    is $r->{body}, '{"a":"x","b":"y"}', "$name: the next is served";

    # pipelined: both in one packet
    $c = OpayRaw->new($port);
    $c->send($text . $good . $good);

    is_deeply [map { ($c->response || {})->{status} } 1 .. 3],
        [$status, 200, 200], "$name: pipelined";
}


# --- what cannot be told from the next request closes the connection

for my $case (
    ['400 garbage', "nonsense\r\n\r\n"],
    ['413', "POST /t/echo HTTP/1.1\r\nHost: t\r\n$post"
        . "Content-Length: 99999999\r\n\r\n"],
    ['400 chunk', "POST /t/echo HTTP/1.1\r\nHost: t\r\n$post"
        . "Transfer-Encoding: chunked\r\n\r\nzz\r\n"])
{
    my ($name, $text) = @$case;
    my $c = OpayRaw->new($port);

    $c->send($text);
    my $r = $c->response;

    cmp_ok $r->{status}, '>=', 400, "$name: refused";
    is $r->{headers}{connection}, 'close', "$name: says close";
}


# --- a body that comes late, byte by byte, behind Expect, in a HEAD

{
    my $c = OpayRaw->new($port);
    my $body = '{"a":1}';

    $c->send("POST /t/echo HTTP/1.1\r\nHost: t\r\n$post"
        . "Content-Length: 7\r\nExpect: 100-continue\r\n\r\n");
    is $c->response->{line}, 'HTTP/1.1 100 Continue', 'Expect: continue';
    $c->send($_) for split //, $body;
    is $c->response->{body}, $body, 'a body byte by byte';
    $c->send($good);
    is $c->response->{status}, 200, '... and the next';
}

{
    my $c = OpayRaw->new($port);

    $c->send("HEAD /t/etag HTTP/1.1\r\nHost: t\r\n\r\n$good");
    is $c->response(head => 1)->{status}, 200, 'HEAD';
    is $c->response->{body}, '{"a":"x","b":"y"}', '... and no body of it';

    $c = OpayRaw->new($port);
    $c->send("HEAD /nothing HTTP/1.1\r\nHost: t\r\n\r\n$good");
    is $c->response(head => 1)->{status}, 404, 'HEAD of nothing';
    is $c->response->{body}, '{"a":"x","b":"y"}', '... and no body of it';
}


# --- HTTP/1.0

{
    my $c = OpayRaw->new($port);

    $c->send("GET /t/etag HTTP/1.0\r\n\r\n");
    my $r = $c->response;

    is $r->{status}, 200, 'HTTP/1.0';
    is $r->{body}, '{"version":7}', '... body';
    ok $c->closed, '... closed';

    $c = OpayRaw->new($port);
    $c->send("GET /t/etag HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    is $c->response->{headers}{connection}, 'keep-alive',
        'HTTP/1.0, keep-alive';
    $c->send("GET /nothing HTTP/1.0\r\n\r\n");
    is $c->response->{status}, 404, '... twice';
    ok $c->closed, '... closed then';
}


# --- many at once, answers in order

{
    my $c = OpayRaw->new($port);
    my @paths = map { "/t/echo/$_/and/" . ($_ % 3 ? 'y' : 'literal') } 1 .. 40;

    $c->send(join '', map { "GET $_ HTTP/1.1\r\nHost: t\r\n\r\n" } @paths);

    my @got = map { ($c->response || {})->{body} } @paths;
    my @want = map { $_ % 3 ? qq({"a":"$_","b":"y"}) : '{"peer":null}' }
        1 .. 40;

    is_deeply \@got, \@want, 'forty pipelined, in order';
}

is scalar(grep { /start worker process / } split /\n/, $rig->log('t')), 1,
    'one worker from first to last';

$rig->nginx_stop('t');
$rig->logs_clean;

done_testing;
