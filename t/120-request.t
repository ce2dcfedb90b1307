#!/usr/bin/perl

# A request's way in: routing, media types, bodies, strict JSON, and an answer
# that is problem+json whatever went wrong, nginx's own pages included.

use strict;
use warnings;

use OpayProbe;
use OpayRaw;
use OpayRig;
use Test::More;

OpayProbe::build();

my $rig = OpayRig->new;
my $port = $rig->port;
my $small = $rig->port;

$rig->nginx_start('t', workers => 1, main => OpayProbe::main(),
    http => <<"END");
    log_format ids '\$uri \$status \$opay_request_id \$opay_trace_id'
        ' \$before';
    client_body_buffer_size 2k;
    large_client_header_buffers 2 1k;
    client_header_buffer_size 1k;
    server {
        listen 127.0.0.1:$port;
        client_max_body_size 64k;
        access_log $rig->{dir}/t/logs/ids.log ids;
        error_page 403 = \@other;
        location = /forbidden {
            set \$before \$opay_request_id;
            return 403;
        }
        location \@other { return 410; }
        location = /gone { return 410; }
        location = /html { default_type text/html; return 500 '<html>'; }
@{[ OpayProbe::server() ]}
    }
    server {
        listen 127.0.0.1:$small;
        client_max_body_size 100;
        client_header_timeout 200ms;
        client_body_timeout 200ms;
@{[ OpayProbe::server() ]}
    }
END


# One request on a connection of its own.

sub ask {
    my ($method, $path, %o) = @_;

    my $c = OpayRaw->new($o{port} || $port);
    my $h = $o{headers} || '';
    my $body = $o{body};

    $h .= 'Content-Length: ' . length($body) . "\r\n"
        if defined $body && $h !~ /^Transfer-Encoding/mi;
    $h .= "Content-Type: application/json\r\n"
        if defined $body && $h !~ /^Content-Type/mi;

    $c->send("$method $path HTTP/1.1\r\nHost: t\r\nConnection: close\r\n$h\r\n"
        . ($body // ''));

    return $c->response(head => $method eq 'HEAD') || { status => 0,
        headers => {}, body => '', all => {} };
}


sub chunked {
    return join('', map { sprintf "%x\r\n%s\r\n", length, $_ } @_)
        . "0\r\n\r\n";
}


# What every error answer has in common.

sub problem {
    my ($r, $status, $code, $name) = @_;

    my $p = OpayRaw::json($r);

    is $r->{status}, $status, "$name: $status";
    is_deeply [$r->{headers}{'content-type'}, $p->{code}, $p->{status}],
        ['application/problem+json', $code, $status], "$name: $code"
        or diag $r->{body};
    like $p->{type} // '', qr/^urn:opay:problem:$code$/, "$name: type";
    like $p->{traceId} // '', qr/^[0-9a-f]{32}$/, "$name: traceId";
    is scalar @{ $r->{all}{'x-request-id'} || [] }, 1,
        "$name: one X-Request-Id";

    return $p;
}


# --- routing

for my $case (
    ['/t/echo/x/and/y', '{"a":"x","b":"y"}'],
    ['/t/echo/x/and/literal', '{"peer":null}'],
    ['/t/echo/x%20y/and/%C3%A9', "{\"a\":\"x y\",\"b\":\"\xc3\xa9\"}"],
    ['/t/echo/a+b/and/c;d', '{"a":"a+b","b":"c;d"}'],
    ['/t/./echo/x/and/y', '{"a":"x","b":"y"}'],
    ['/t/echo/x/and/y?q=1', '{"a":"x","b":"y"}'],
    ['//t//echo/x/and/y', '{"a":"x","b":"y"}'])
{
    my ($path, $body) = @$case;
    my $r = ask('GET', $path);

    is "$r->{status} $r->{body}", "200 $body", "GET $path";
}

for my $path (qw(/ /t /t/ /t/echo/x/and /t/echo/x/and/y/
    /t/echo/x/and/y/z /T/echo/x/and/y /t/echo//and/y /t/echo/x/AND/y
    /t/echo/x%2Fz/and/y/z /t/echo/%01/and/y /t/etag/ /internal/peer))
{
    problem(ask('GET', $path), 404, 'not_found', "GET $path");
}

# an encoded slash is a slash: it makes no parameter that holds one

is ask('GET', '/t/echo/x%2Fand%2Fy')->{body}, '{"a":"x","b":"y"}',
    'encoded slashes separate';

for my $case (
    ['POST', '/t/who', 'GET, HEAD'],
    ['DELETE', '/t/sleep', 'GET, HEAD, POST'],
    ['GET', '/t/echo', 'POST'],
    ['HEAD', '/t/echo', 'POST'],
    ['PATCH', '/t/etag', 'GET, HEAD, POST'],
    ['OPTIONS', '/t/etag', 'GET, HEAD, POST'],
    ['BREW', '/t/etag', 'GET, HEAD, POST'])
{
    my ($method, $path, $allow) = @$case;
    my $r = ask($method, $path);

    $method eq 'HEAD' ? is $r->{status}, 405, "$method $path: 405"
        : problem($r, 405, 'method_not_allowed', "$method $path");
    is $r->{headers}{allow}, $allow, "$method $path: Allow";
}

{
    my $get = ask('GET', '/t/etag');
    my $head = ask('HEAD', '/t/etag');

    is $head->{status}, 200, 'HEAD as GET';
    is $head->{headers}{$_}, $get->{headers}{$_}, "HEAD: $_"
        for qw(content-length content-type etag);
}


# --- conditions

is ask('GET', '/t/etag', headers => "If-None-Match: \"7\"\r\n")->{status},
    304, 'If-None-Match: 304';
is ask('GET', '/t/etag', headers => "If-None-Match: \"6\"\r\n")->{status},
    200, 'If-None-Match: another';
problem(ask('GET', '/t/etag', headers => "If-Match: \"6\"\r\n"), 412,
    'version_mismatch', 'If-Match on GET');
is ask('POST', '/t/etag', headers => "If-Match: \"6\"\r\n")->{status}, 200,
    'If-Match on POST is the service\'s own business';


# --- media type

for my $case (
    ['application/json', 200],
    ['APPLICATION/JSON', 200],
    ['application/json; charset=utf-8', 200],
    ['application/json;charset=UTF-8', 200],
    ['application/json ; charset="utf-8"', 200],
    ['application/json; charset=latin1', 415],
    ['application/json; x=1', 415],
    ['application/json;', 415],
    ['application/jsonx', 415],
    ['application/problem+json', 415],
    ['application/x-www-form-urlencoded', 415],
    ['text/plain', 415],
    ['text/json', 415],
    ['', 415])
{
    my ($type, $status) = @$case;
    my $r = ask('POST', '/t/echo', body => '{"a":1}',
        headers => "Content-Type: $type\r\n");

    $status == 200 ? is $r->{status}, 200, "type '$type'"
        : problem($r, $status, 'unsupported_media_type', "type '$type'");
}

{
    my $c = OpayRaw->new($port);
    $c->send("POST /t/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}");
    problem($c->response, 415, 'unsupported_media_type', 'no type');
}

problem(ask('POST', '/t/echo', body => '{}', headers =>
    "Content-Encoding: gzip\r\n"), 415, 'unsupported_media_type', 'encoding');


# --- bodies; the route takes 1024 bytes, nginx keeps 2k in memory

sub doc { return '{"a":"' . 'x' x ($_[0] - 8) . '"}' }

for my $case (
    ['empty', '', 400],
    ['one byte', '1', 400],
    ['small', '{"a":[1,true,null,"\u00e9"]}', 200],
    ['at the limit', doc(1024), 200],
    ['one above', doc(1025), 413],
    ['in a file', doc(5000), 413],
    ["above nginx's", doc(70000), 413])
{
    my ($name, $body, $status) = @$case;
    my $code = $status == 413 ? 'payload_too_large' : 'malformed_json';

    for my $r (['length', ask('POST', '/t/echo', body => $body)],
               ['chunked', ask('POST', '/t/echo', headers =>
                   "Transfer-Encoding: chunked\r\n", body => chunked(
                       $body =~ /(.{1,300})/sg))])
    {
        $status == 200
            ? is $r->[1]{status}, 200, "body $name, $r->[0]"
            : problem($r->[1], $status, $code, "body $name, $r->[0]");
    }
}

{
    # in a temporary file, whole: a route with nginx's own limit
    my $body = '{"v":1,' . '"pad":"' . 'y' x 40000 . '"}';
    my $r = ask('POST', '/t/sleep', body => $body);

    is $r->{status}, 200, 'a body from a file';
    like $rig->log('t'), qr/buffered to a temporary file/, '... it was one';

    substr($body, -1) = '';
    problem(ask('POST', '/t/sleep', body => $body), 400, 'malformed_json',
        'a file that is cut');
}

problem(ask('POST', '/t/echo', port => $small, body => doc(101)), 413,
    'payload_too_large', "nginx's limit, length");
problem(ask('POST', '/t/echo', port => $small, body => chunked(doc(101)),
    headers => "Transfer-Encoding: chunked\r\n"), 413, 'payload_too_large',
    "nginx's limit, chunked");
problem(ask('POST', '/t/echo', headers => "Transfer-Encoding: chunked\r\n",
    body => "zz\r\n"), 400, 'bad_request', 'a chunk that is none');


# --- strict JSON

for my $case (
    ['duplicate member', '{"a":1,"a":2}'],
    ['nested duplicate', '{"o":{"a":1,"a":1}}'],
    ['duplicate by escape', '{"a":1,"\u0061":2}'],
    ['trailing comma', '{"a":1,}'],
    ['trailing garbage', '{"a":1} x'],
    ['two documents', '{}{}'],
    ['comment', '{"a":1/* */}'],
    ['single quotes', "{'a':1}"],
    ['NaN', '{"a":NaN}'],
    ['leading zero', '{"a":01}'],
    ['plus sign', '{"a":+1}'],
    ['too large a number', '{"a":99999999999999999999}'],
    ['infinite', '{"a":1e999}'],
    ['NUL by escape', '{"a":"\u0000"}'],
    ['NUL', "{\"a\":\"\0\"}"],
    ['control byte', "{\"a\":\"\x01\"}"],
    ['bad escape', '{"a":"\x"}'],
    ['lone surrogate', '{"a":"\ud800"}'],
    ['bad UTF-8', "{\"a\":\"\xff\"}"],
    ['overlong UTF-8', "{\"a\":\"\xc0\xaf\"}"],
    ['byte order mark', "\xef\xbb\xbf{}"],
    ['too deep', '[' x 33 . ']' x 33],
    ['unclosed', '{"a":'],
    ['nothing but space', '   '])
{
    my ($name, $body) = @$case;

    problem(ask('POST', '/t/echo', body => $body), 400, 'malformed_json',
        "JSON: $name");
}


# --- nginx's own pages

sub raw {
    my ($text, $to) = @_;

    my $c = OpayRaw->new($to || $port);
    $c->send($text);

    return $c->response || { status => 0, headers => {}, body => '' };
}

my $long = 'x' x 3000;

problem(raw("nonsense\r\n\r\n"), 400, 'bad_request', 'garbage');
problem(raw("GET / HTTP/1.1\r\n\r\n"), 400, 'bad_request', 'no Host');
problem(raw("GET / HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n"), 400,
    'bad_request', 'two Hosts');
problem(raw("POST /t/echo HTTP/1.1\r\nHost: t\r\nContent-Length: x\r\n\r\n"),
    400, 'bad_request', 'bad Content-Length');
problem(raw("POST /t/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n"
    . "Transfer-Encoding: chunked\r\n\r\n"), 400, 'bad_request',
    'both lengths');
problem(raw("GET /%zz HTTP/1.1\r\nHost: t\r\n\r\n"), 400, 'bad_request',
    'bad escape in the path');
problem(raw("GET /../x HTTP/1.1\r\nHost: t\r\n\r\n"), 400, 'bad_request',
    'above the root');
problem(raw("GET /$long HTTP/1.1\r\nHost: t\r\n\r\n"), 414, 'bad_request',
    'long URI');
problem(raw("GET / HTTP/1.1\r\nHost: t\r\nX-Long: $long\r\n\r\n"), 400,
    'bad_request', 'long header');
problem(raw("TRACE / HTTP/1.1\r\nHost: t\r\n\r\n"), 405,
    'method_not_allowed', 'TRACE');
problem(raw("GET / HTTP/3.0\r\nHost: t\r\n\r\n"), 505, 'bad_request',
    'a version to come');
{
    # nobody is there to read a 408
    my $c = OpayRaw->new($small);
    $c->send("POST /t/echo HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n"
        . "Content-Type: application/json\r\n\r\n{");
    ok $c->closed, 'a body that does not come: closed';
    is $c->{in}, '', '... without a word';
}

problem(ask('GET', '/gone'), 410, 'not_found', 'a location of nginx\'s own');
problem(ask('GET', '/html'), 500, 'internal_error', 'an HTML page');


# --- ids

my $hex = '0123456789abcdef' x 2;
my $trace = "00-$hex-0123456789abcdef-01";

is ask('GET', '/t/etag', headers => "X-Request-Id: $hex\r\n")
    ->{headers}{'x-request-id'}, $hex, 'X-Request-Id is kept';

for my $id ('short', uc $hex, "${hex}0", 'g' x 32, '<script>') {
    my $got = ask('GET', '/t/etag', headers => "X-Request-Id: $id\r\n")
        ->{headers}{'x-request-id'};

    like $got, qr/^[0-9a-f]{32}$/, "X-Request-Id '$id' is replaced";
    isnt $got, $id, '... by another';
}

isnt ask('GET', '/t/etag')->{headers}{'x-request-id'},
    ask('GET', '/t/etag')->{headers}{'x-request-id'}, 'ids differ';

is problem(ask('GET', '/nothing', headers => "traceparent: $trace\r\n"), 404,
    'not_found', 'traced')->{traceId}, $hex, 'traceparent is continued';

for my $bad ('garbage', "00-$hex-0123456789abcdef", "ff-$hex-0123456789abcdef-01",
    '00-' . '0' x 32 . '-0123456789abcdef-01', "$trace-more",
    uc $trace)
{
    my $p = problem(ask('GET', '/nothing', headers =>
        "traceparent: $bad\r\n"), 404, 'not_found', 'badly traced');

    isnt $p->{traceId}, $hex, "traceparent '$bad' is replaced";
}


# An internal redirect is still the same request.

{
    my $r = ask('GET', '/forbidden', headers => "traceparent: $trace\r\n");
    my $p = problem($r, 410, 'not_found', 'redirected');
    my $id = $r->{headers}{'x-request-id'};

    is $p->{traceId}, $hex, 'redirected: the trace goes on';
    ok $rig->wait_for('the log line', 5, sub {
        OpayRig::file("$rig->{dir}/t/logs/ids.log")
            =~ m{^/forbidden 410 $id $hex $id$}m
    }), 'redirected: one id from first to last';
}

$rig->nginx_stop('t');
$rig->logs_clean;

done_testing;
