#!/usr/bin/perl

# The order service over HTTP: what a client and a peer see of it.  The rules
# themselves are 300-order-ops.t's.  Runs beside a database of its own.

use strict;
use warnings;

use File::Basename qw(dirname);
use OpayMint;
use OpayRig;
use Test::More;
use JSON::PP qw(decode_json encode_json);

# a database of its own even where others share one: the sweeper is global
if (!$ENV{ORDER_OWN_DB}) {
    $ENV{ORDER_OWN_DB} = 1;
    delete $ENV{OPAY_TEST_DB_SOCKET};
    exec "$OpayRig::root/tools/with-db.sh", $^X, $0 or die $!;
}

# workers drop to another user, who must get at the socket
chmod 0755, dirname($ENV{OPAY_TEST_DB_SOCKET});

$ENV{OPAY_TEST_PORT} ||= 44000;
$ENV{OPAY_LOAD} = 'ngx_opay_core_module.so ngx_opay_order_module.so';

my $root = $OpayRig::root;
my $rig = OpayRig->new;
my $dir = $rig->{dir};
my $mint = OpayMint->new($dir);

$mint->cert($_) for qw(order payment sidecar-order user);

OpayMint::_write("$dir/cursor.key", '5a' x 32 . "\n");
OpayMint::_write("$dir/db.password", "secret\n");

sub sql {
    my ($text) = @_;
    my @out = `mariadb --defaults-file=$ENV{OPAY_TEST_DB_ADMIN} -N --batch \\
        opay_order -e "$text"`;
    die "$text: $?" if $?;
    chomp @out;
    return wantarray ? @out : $out[0];
}

system("mariadb --defaults-file=$ENV{OPAY_TEST_DB_ADMIN} opay_order"
    . " < $root/db/order/seed.sql") == 0 or die 'seed';

# the service's own rights: events can be appended, never changed
sql('DROP USER IF EXISTS order_test@localhost');
sql("CREATE USER order_test\@localhost IDENTIFIED BY 'secret'");
sql("GRANT SELECT, INSERT ON opay_order.events TO order_test\@localhost");
sql("GRANT SELECT, INSERT, UPDATE, DELETE ON opay_order.$_"
    . " TO order_test\@localhost")
    for qw(products orders order_items order_addresses idempotency inbox);

my ($http, $https) = ($rig->port, $rig->port);

sub server {
    my (%o) = @_;

    my $listen = $o{listen} // "listen 127.0.0.1:$http;";
    my $key = $o{key} // "opay_order_cursor_key $dir/cursor.key;";
    my $ttl = $o{ttl} // 'opay_order_ttl 30m;';

    return $mint->conf . <<"END";
    opay_zone 1m;
    client_max_body_size 64k;
    client_body_buffer_size 64k;

    server {
        $listen
        server_name order.opay.internal;

        location = /internal/events {
            client_max_body_size 1m;
            client_body_buffer_size 1m;
        }

        opay_internal_peers sidecar-order payment;
        opay_db unix:$ENV{OPAY_TEST_DB_SOCKET};
        opay_db_name opay_order;
        opay_db_user order_test;
        opay_db_password_file $dir/db.password;
        opay_pool read r slots=2;
        opay_pool write w slots=2;
        opay_order;
        $ttl
        $key
    }
END
}

my $pools = "thread_pool r threads=2;\nthread_pool w threads=2;\n";

$rig->nginx_start('order', workers => 1, main => $pools,
    http => server(listen => <<"END"));
        listen 127.0.0.1:$http;
        listen 127.0.0.1:$https ssl;
        ssl_certificate $dir/order.pem;
        ssl_certificate_key $dir/order.key;
        ssl_client_certificate $dir/ca.pem;
        ssl_verify_client optional;
END


# --- helpers

my ($alice, $bob, $admin) = map { OpayMint::uuid() } 1 .. 3;
my %as = (
    alice => $mint->bearer($alice),
    bob   => $mint->bearer($bob),
    admin => $mint->bearer($admin, roles => ['USER', 'ADMIN']),
    none  => {},
);

sub call {
    my ($who, $method, $path, %o) = @_;

    my %h = (%{ $as{$who} }, %{ $o{headers} || {} });

    if (exists $o{json}) {
        $o{body} = encode_json($o{json});
        $h{'Content-Type'} //= 'application/json';
    }

    my $r = $rig->http($method, "http://127.0.0.1:$http$path",
        headers => \%h, body => $o{body}, timeout => 20);

    $r->{json} = eval { decode_json($r->{content}) };

    return $r;
}

# A peer with a certificate; [status, body].

sub peer {
    my ($name, $path, $body) = @_;

    my $cert = $name ? "--cert $dir/$name.pem --key $dir/$name.key" : '';
    my $post = '';

    if (defined $body) {
        OpayMint::_write("$dir/body", encode_json($body));
        $post = "-H 'Content-Type: application/json' --data \@$dir/body";
    }

    my $out = `curl -s -w '\\n%{http_code}' --cacert $dir/ca.pem $cert $post \\
        --connect-to order.opay.internal:443:127.0.0.1:$https \\
        https://order.opay.internal$path`;

    my ($text, $status) = $out =~ /^(.*)\n(\d+)$/s or die "curl: $out";

    return ($status, eval { decode_json($text) });
}

sub problem {
    my ($r, $status, $code, $name) = @_;

    subtest $name => sub {
        is($r->{status}, $status, 'status') or diag($r->{content});
        is($r->{headers}{'content-type'}, 'application/problem+json', 'type');
        is($r->{json}{code}, $code, 'code');
        is($r->{json}{status}, $status, 'status inside');
        ok($r->{headers}{'x-request-id'}, 'X-Request-Id');
    };
}

my @products = @{ call('none', 'GET', '/api/products')->{json}{content} };

sub order {
    my ($n) = @_;
    return { shippingAddress => '1 Main St',
        items => [{ productId => $products[0]{id}, quantity => $n || 1 }] };
}


# --- the catalogue is public

is(scalar @products, 6, 'products are listed without a token');

my $r = call('none', 'GET', "/api/products/$products[1]{id}");
is($r->{status}, 200, 'one product');
is_deeply($r->{json}, $products[1], '... as in the list');

my $etag = $r->{headers}{etag};
$r = call('none', 'GET', "/api/products/$products[1]{id}",
    headers => { 'If-None-Match' => $etag });
is($r->{status}, 304, 'If-None-Match');

problem(call('none', 'GET', '/api/products/' . OpayMint::uuid()), 404,
    'not_found', 'no such product');
problem(call('none', 'GET', '/api/products/1'), 404, 'not_found',
    'product id that is no UUID');


# --- who may

problem(call('none', 'GET', '/api/orders'), 401, 'unauthenticated',
    'no token');
problem(call('none', 'POST', '/api/orders', json => order()), 401,
    'unauthenticated', 'no token, with a body');
problem($rig->http('GET', "http://127.0.0.1:$http/api/orders",
    headers => { Authorization => 'Bearer x.y.z' })->{status} == 401
    ? call('none', 'GET', '/api/orders',
        headers => { Authorization => 'Bearer x.y.z' }) : {}, 401,
    'invalid_token', 'bad token');


# --- create

$r = call('alice', 'POST', '/api/orders', json => order(2),
    headers => { 'Idempotency-Key' => 'k1' });
is($r->{status}, 201, 'created') or diag($r->{content});
my $o = $r->{json};
is($r->{headers}{location}, "/api/orders/$o->{id}", 'Location');
is($r->{headers}{etag}, '"1"', 'ETag');
is($r->{headers}{'content-type'}, 'application/json', 'type');
is($o->{totalAmount}, 2 * $products[0]{price}, 'total of the catalogue');
is_deeply(call('alice', 'GET', "/api/orders/$o->{id}")->{json}, $o,
    'GET shows what POST answered');

my $again = call('alice', 'POST', '/api/orders', json => order(2),
    headers => { 'Idempotency-Key' => 'k1' });
is($again->{status}, 201, 'replay');
is($again->{content}, $r->{content}, '... byte for byte');
is($again->{headers}{'idempotent-replayed'}, 'true', '... and says so');
is($again->{headers}{location}, $r->{headers}{location}, '... Location');
is(sql('SELECT COUNT(*) FROM orders'), 1, '... one order');

problem(call('alice', 'POST', '/api/orders', json => order(3),
    headers => { 'Idempotency-Key' => 'k1' }), 422, 'idempotency_key_reused',
    'key with another body');
is(call('bob', 'POST', '/api/orders', json => order(2),
    headers => { 'Idempotency-Key' => 'k1' })->{status}, 201,
    'a key is its user\'s own');

$r = call('alice', 'POST', '/api/orders', json => { items => [
    { productId => OpayMint::uuid(), quantity => 0 }, { price => 1 } ] });
problem($r, 400, 'validation_failed', 'all faults at once');
is_deeply([sort map { "$_->{pointer} $_->{code}" } @{ $r->{json}{errors} }],
    ['/shippingAddress required'], '... of the body');

$r = call('alice', 'POST', '/api/orders', json => { shippingAddress => 'x',
    items => [ { productId => OpayMint::uuid(), quantity => 0 },
               { price => 1 } ] });
is_deeply([sort map { "$_->{pointer} $_->{code}" } @{ $r->{json}{errors} }],
    ['/items/0/quantity range', '/items/1/price unknown',
     '/items/1/productId required', '/items/1/quantity required'],
    '... of the items');

$r = call('alice', 'POST', '/api/orders', json => { shippingAddress => 'x',
    items => [ { productId => OpayMint::uuid(), quantity => 1 } ] });
problem($r, 400, 'validation_failed', 'unknown product');
is($r->{json}{errors}[0]{pointer}, '/items/0/productId', '... named');

problem(call('alice', 'POST', '/api/orders', body => '{',
    headers => { 'Content-Type' => 'application/json' }), 400,
    'malformed_json', 'broken JSON');
problem(call('alice', 'POST', '/api/orders', body => '{"items":[],"items":[]}',
    headers => { 'Content-Type' => 'application/json' }), 400,
    'malformed_json', 'duplicate member');
problem(call('alice', 'POST', '/api/orders', body => 'x',
    headers => { 'Content-Type' => 'text/plain' }), 415,
    'unsupported_media_type', 'not JSON');
problem(call('alice', 'POST', '/api/orders', body => ' ' x 70000,
    headers => { 'Content-Type' => 'application/json' }), 413,
    'payload_too_large', 'too large');


# --- read

problem(call('bob', 'GET', "/api/orders/$o->{id}"), 404, 'not_found',
    'another user\'s order');
is(call('admin', 'GET', "/api/orders/$o->{id}")->{status}, 200, 'ADMIN');
problem(call('alice', 'GET', '/api/orders/events'), 404, 'not_found',
    'no stream here yet');

$r = call('alice', 'PUT', "/api/orders/$o->{id}", json => {});
problem($r, 405, 'method_not_allowed', 'PUT');
is($r->{headers}{allow}, 'GET, HEAD, DELETE', '... Allow');

$r = call('alice', 'HEAD', "/api/orders/$o->{id}");
is("$r->{status} $r->{content}", '200 ', 'HEAD');
is($r->{headers}{etag}, '"1"', '... ETag');

call('alice', 'POST', '/api/orders', json => order($_)) for 1 .. 6;

$r = call('alice', 'GET', '/api/orders?limit=4');
is(scalar @{ $r->{json}{content} }, 4, 'list');
is($r->{json}{content}[0]{totalAmount}, 6 * $products[0]{price},
    '... newest first');
my $next = $r->{json}{next};
$r = call('alice', 'GET', "/api/orders?limit=4&after=$next");
is(scalar @{ $r->{json}{content} }, 3, '... the rest');
is($r->{json}{content}[2]{id}, $o->{id}, '... oldest last');
ok(!$r->{json}{hasMore}, '... no more');
ok(!defined $r->{json}{next}, '... next is null');
problem(call('bob', 'GET', "/api/orders?limit=4&after=$next"), 400,
    'validation_failed', 'somebody else\'s cursor');
is(scalar @{ call('alice', 'GET', '/api/orders/status/PAID')
    ->{json}{content} }, 0, 'by status');
problem(call('alice', 'GET', '/api/orders/status/LOST'), 400,
    'validation_failed', 'no such status');


# --- cancel

$r = call('alice', 'DELETE', "/api/orders/$o->{id}",
    headers => { 'If-Match' => '"9"' });
problem($r, 412, 'version_mismatch', 'cancel of another version');
problem(call('bob', 'DELETE', "/api/orders/$o->{id}"), 404, 'not_found',
    'cancel by a stranger');
$r = call('alice', 'DELETE', "/api/orders/$o->{id}");
is($r->{status}, 200, 'cancel');
is($r->{json}{status}, 'CANCELLED', '... CANCELLED');
is($r->{headers}{etag}, '"2"', '... ETag');
is(call('alice', 'DELETE', "/api/orders/$o->{id}")->{status}, 200,
    '... again');

$r = call('alice', 'GET', "/api/orders/$o->{id}/history");
is_deeply([map { [$_->{version}, $_->{type}, $_->{previousStatus},
    $_->{newStatus}, $_->{actor}] } @{ $r->{json}{content} }],
    [[1, 'order.created', undef, 'CREATED', "user:$alice"],
     [2, 'order.cancelled', 'CREATED', 'CANCELLED', "user:$alice"]],
    'history');


# --- peers

my $paid = call('alice', 'POST', '/api/orders', json => order(1))->{json};
my $pay = OpayMint::uuid();

my ($status, $json) = peer('payment', "/internal/orders/$paid->{id}");
is($status, 200, 'the payment service asks');
is_deeply($json, { orderId => $paid->{id}, userId => $alice,
    total => $paid->{totalAmount}, currency => 'KRW', status => 'CREATED',
    version => 1, expiresAt => $paid->{expiresAt} }, '... and learns');
is((peer('', "/internal/orders/$paid->{id}"))[0], 404, 'no certificate');
is((peer('user', "/internal/orders/$paid->{id}"))[0], 404,
    'a peer that is not named');
is(call('admin', 'GET', "/internal/orders/$paid->{id}")->{status}, 404,
    'an ADMIN is no peer');

sub event {
    my ($version, $type) = @_;
    return { id => "payment-$pay-$version", source => '/opay/payment',
        type => $type, aggregate => 'payment', aggregateId => $pay,
        key => $paid->{id}, sequence => $version,
        time => '2026-11-23T00:00:00.000Z', traceparent => undef,
        data => { orderId => $paid->{id}, currency => 'KRW',
            amount => $paid->{totalAmount} } };
}

my $events = { events => [event(1, 'payment.created'),
    event(2, 'payment.processing'), event(3, 'payment.succeeded')] };

($status, $json) = peer('sidecar-order', '/internal/events', $events);
is($status, 200, 'events are taken');
is_deeply([map { $_->{outcome} } @{ $json->{results} }],
    [('applied') x 3], '... and applied');
($status, $json) = peer('sidecar-order', '/internal/events', $events);
is_deeply([map { $_->{outcome} } @{ $json->{results} }],
    [('duplicate') x 3], '... once');
$r = call('alice', 'GET', "/api/orders/$paid->{id}");
is("$r->{json}{status} $r->{json}{version}", 'PAID 3', '... PAID');
is($r->{json}{paymentId}, $pay, '... by this payment');

$r = call('alice', 'DELETE', "/api/orders/$paid->{id}");
is($r->{status}, 202, 'cancel of a paid order');
is($r->{json}{pendingOperation}, 'CANCEL', '... pendingOperation');
is($r->{headers}{location}, "/api/orders/$paid->{id}", '... Location');


# --- many at once: one execution per key, and every order its own

OpayMint::_write("$dir/order.json", encode_json(order(1)));

sub flood {
    my ($n, $key) = @_;

    my $auth = $as{alice}{Authorization};
    my $conf = '';

    for my $i (1 .. $n) {
        my $k = $key // "flood-$i";
        $conf .= "next\n" if $conf;
        $conf .= <<"END";
url = "http://127.0.0.1:$http/api/orders"
header = "Authorization: $auth"
header = "Content-Type: application/json"
header = "Idempotency-Key: $k"
data = "\@$dir/order.json"
output = "$dir/flood.$i"
write-out = "%{http_code}\\n"
silent
END
    }

    OpayMint::_write("$dir/flood.conf", $conf);

    my %count;
    chomp, $count{$_}++ for `curl --parallel --parallel-immediate \\
        --parallel-max 64 -K $dir/flood.conf`;

    return \%count;
}

my $before = sql('SELECT COUNT(*) FROM orders');
my $got = flood(200);
is_deeply($got, { 201 => 200 }, '200 orders at once');
is(sql('SELECT COUNT(*) FROM orders'), $before + 200, '... are 200 orders');

my %ids = map { decode_json(OpayRig::file("$dir/flood.$_"))->{id} => 1 }
    1 .. 200;
is(scalar keys %ids, 200, '... each with its own answer');

$before += 200;
$got = flood(64, 'twins');
is(($got->{201} || 0) + ($got->{409} || 0), 64,
    '64 twins: created, replayed or told to wait') or diag(explain($got));
ok($got->{201}, '... at least one is told of the order');
is(sql('SELECT COUNT(*) FROM orders'), $before + 1, '... one order');

is(sql('SELECT COUNT(*) FROM orders o WHERE version <> (SELECT COUNT(*) FROM'
    . ' events e WHERE e.agg_id = o.id)'), 0, 'version counts the events');


# --- reload loses nothing; time passes

$rig->signal('order', 'HUP');
is(call('alice', 'GET', "/api/orders/$paid->{id}")->{status}, 200,
    'served over a reload');

$rig->nginx_stop('order');
$rig->nginx_start('short', workers => 1, main => $pools, http => server(
    ttl => "opay_order_ttl 1s; opay_order_expiry_grace 0;"));

$o = call('alice', 'POST', '/api/orders', json => order(1))->{json};
is($o->{status}, 'CREATED', 'an order for a second');
ok($rig->wait_for('expiry', 15, sub {
    call('alice', 'GET', "/api/orders/$o->{id}")->{json}{status}
        eq 'CANCELLED' }), '... is cancelled after it');
$r = call('alice', 'GET', "/api/orders/$o->{id}/history");
is($r->{json}{content}[1]{actor}, 'system', '... by nobody');


# --- configuration

sub refused {
    my ($name, $want, %o) = @_;

    $rig->nginx_conf('bad', main => $pools, http => server(%o));

    my ($rc, $out) = $rig->nginx_test('bad');

    ok($rc, "$name is refused");
    like($out, $want, '... by name');
    unlink glob "$dir/bad/logs/*";
}

OpayMint::_write("$dir/short.key", "5a5a\n");

refused('ttl of nothing', qr/"opay_order_ttl" directive must be between/,
    ttl => 'opay_order_ttl 0;');
refused('ttl that is no time', qr/"opay_order_ttl" directive invalid value/,
    ttl => 'opay_order_ttl soon;');
refused('no cursor key', qr/needs "opay_order_cursor_key"/, key => '');
refused('a cursor key that is not there', qr/"opay_order_cursor_key": open/,
    key => "opay_order_cursor_key $dir/none;");
refused('a short cursor key', qr/"opay_order_cursor_key": .* 64 hex digits/,
    key => "opay_order_cursor_key $dir/short.key;");
refused('opay_order twice', qr/"opay_order" directive is duplicate/,
    ttl => 'opay_order;');

$rig->nginx_stop('short');
$rig->logs_clean;

done_testing();
