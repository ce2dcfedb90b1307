#!/usr/bin/perl

# Core's HTTP client: whether a request was answered, never sent, or may have
# been acted upon.  Money hangs on the difference: "not sent" may be repeated,
# "unknown" must be asked about, and nothing may be sent twice behind the
# caller's back, as curl does on a kept connection that turns out dead.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use IO::Socket::INET;
use JSON::PP qw(decode_json encode_json);
use OpayMint;
use OpayRig;
use POSIX ();
use Test::More;
use Time::HiRes qw(time);

my $root = $OpayRig::root;
my $asan = $ENV{OPAY_ASAN} ? '--asan' : '';

system("$root/t/probe/build.sh $asan") == 0
    or BAIL_OUT('t/probe/build.sh failed');

$ENV{OPAY_LOAD} = 'ngx_opay_core_module.so ngx_opay_probe_module.so';

my $rig = OpayRig->new;
my $mint = OpayMint->new($rig->{dir});
my ($port, $tls, $peer, $none) = map { $rig->port } 1 .. 4;

$mint->cert($_) for qw(order payment);

my $log = "$rig->{dir}/peer.log";


# A peer that does what the path says; every request line goes to a log.

sub peer {
    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $peer, Listen => 128, ReuseAddr => 1) or die $!;
    my $pid = fork // die $!;

    return $pid if $pid;

    local $SIG{CHLD} = 'IGNORE';

    while (my $c = $listen->accept) {
        next if fork // die $!;
        eval { serve($c) };
        POSIX::_exit(0);
    }
}


sub serve {
    my ($c) = @_;

    while (defined(my $line = <$c>)) {
        my ($what) = $line =~ m{ /(\w+)};
        my ($len, $head) = (0, '');

        while (defined(my $h = <$c>)) {
            last if $h =~ /^\r?\n$/;
            $len = $1 if $h =~ /^content-length: *(\d+)/i;
            $head .= $h;
        }

        my $body = '';
        read $c, $body, $len if $len;

        open my $f, '>>', $log or die $!;
        syswrite $f, $line;
        close $f;

        my $say = sub {
            my ($status, $text, @h) = @_;
            print $c join "\r\n", "HTTP/1.1 $status X",
                'Content-Length: ' . length $text, @h, '', $text;
            $c->flush;
        };

        if ($what eq 'ok') { $say->(200, 'hello') }
        elsif ($what eq 'echo') { $say->(201, "$head$body") }
        elsif ($what eq 'later') { $say->(429, '{}', 'Retry-After: 7') }
        elsif ($what eq 'empty') { $say->(204, '') }
        elsif ($what eq 'big') { $say->(200, 'x' x 5000) }
        elsif ($what eq 'edge') { $say->(200, 'x' x 4096) }
        elsif ($what eq 'slow') { select undef, undef, undef, 1;
                                  $say->(200, 'late') }
        elsif ($what eq 'moved') { $say->(302, '', 'Location: /ok') }
        elsif ($what eq 'hang') { sysread $c, my $byte, 1 }
        elsif ($what eq 'cut') {
            print $c "HTTP/1.1 200 X\r\nContent-Length: 9\r\n\r\nhel";
            $c->flush;
            return;
        }
        elsif ($what eq 'junk') { print $c "\0\1\2garbage\r\n\r\n"; return }
        else { return }
    }
}


my $pid = peer();

$rig->nginx_start('probe', workers => 1,
    main => "thread_pool p threads=1;\n", http => <<"END");
    opay_zone 1m;
    opay_watch peer fallback=127.0.0.1:$peer fallback=127.0.0.1:$none;
    server {
        listen 127.0.0.1:$port;
        opay_db unix:$rig->{dir}/no.sock;
        opay_db_name none;
        opay_db_user none;
        opay_pool read p;
        opay_pool write p;
        opay_pool hash p;
        opay_probe;
    }
    server {
        listen 127.0.0.1:$tls ssl;
        server_name order.opay.internal;
        opay_problem off;
        ssl_certificate $rig->{dir}/order.pem;
        ssl_certificate_key $rig->{dir}/order.key;
        ssl_client_certificate $rig->{dir}/ca.pem;
        ssl_verify_client on;
        location / { return 200 "\$ssl_client_s_dn"; }
    }
END


sub ask {
    my (%o) = @_;

    my $r = $rig->http('POST', "http://127.0.0.1:$port/t/http",
        headers => { 'Content-Type' => 'application/json' },
        body => encode_json({ method => 'GET', %o }));

    return $r->{status} == 200 ? decode_json($r->{content})
        : { outcome => "$r->{status} $r->{content}" };
}


sub is_outcome {
    my ($got, $outcome, $status, $name) = @_;

    is "$got->{outcome} $got->{status}", "$outcome $status", $name
        or diag explain $got;
}

my $url = "http://127.0.0.1:$peer";
my $r = ask(url => "$url/ok");

is_outcome($r, 'answered', 200, 'an answer');
is $r->{reply}, 'hello', '... with its body';
is $r->{error}, undef, '... and no error';

$r = ask(url => "$url/echo", method => 'POST', body => '{"a":1}',
    header => 'Content-Type: application/json');
is_outcome($r, 'answered', 201, 'a POST');
like $r->{reply}, qr/\r\nContent-Type: application\/json\r\n.*\{"a":1\}$/s,
    '... with the type and body it was given';
unlike $r->{reply}, qr/^Expect/mi, '... and without Expect';

$r = ask(url => "$url/echo", method => 'POST');
like $r->{reply}, qr/^Content-Length: 0\r$/m, 'a POST without a body';
unlike $r->{reply}, qr/^Content-Type/mi, '... has no type';

$r = ask(url => "$url/later");
is_outcome($r, 'answered', 429, 'a refusal for now');
is $r->{retryAfter}, 7, '... and Retry-After';

is_outcome(ask(url => "$url/empty"), 'answered', 204, 'an answer without a body');
is_outcome(ask(url => "$url/moved"), 'answered', 302,
    'a redirect is not followed');
is_outcome(ask(url => "$url/edge"), 'answered', 200, 'the longest reply');

$r = ask(url => "$url/big");
is $r->{outcome}, 'unknown', 'a longer one is not known';
like $r->{error}, qr/too large/, '... and says so';

is ask(url => "$url/cut", method => 'POST')->{outcome}, 'unknown',
    'a reply cut off';
is ask(url => "$url/junk", method => 'POST')->{outcome}, 'unknown',
    'a reply that is no HTTP';
is ask(url => "$url/die", method => 'POST')->{outcome}, 'unknown',
    'a connection closed without a reply';

my $t = time;
is ask(url => "$url/hang", method => 'POST', timeout => 300)->{outcome},
    'unknown', 'no reply in time';
cmp_ok time - $t, '<', 1.5, '... and in time';


# --- never sent

is ask(url => "http://127.0.0.1:$none/", method => 'POST')->{outcome},
    'not_sent', 'connection refused';

# nobody accepts, and the queue is full

my $full = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
    LocalPort => $rig->port, Listen => 1, ReuseAddr => 1) or die $!;
my @fill = map {
    IO::Socket::INET->new(PeerAddr => '127.0.0.1', Blocking => 0,
        PeerPort => $full->sockport)
} 1 .. 4;

is ask(url => 'http://127.0.0.1:' . $full->sockport . '/', method => 'POST',
    connectTimeout => 200)->{outcome}, 'not_sent', 'no connection in time';

for my $bad ('ftp://127.0.0.1/', 'file:///etc/passwd', 'http://', 'nonsense')
{
    is ask(url => $bad)->{outcome}, 'not_sent', "\"$bad\" is not asked";
}

is ask(url => 'http://nobody.invalid/', timeout => 2000)->{outcome},
    'not_sent', 'a name that does not exist';


# --- nothing is sent twice

ask(url => "$url/ok");

my $before = () = OpayRig::file($log) =~ /POST \/die/g;
ask(url => "$url/die", method => 'POST');
my $after = () = OpayRig::file($log) =~ /POST \/die/g;

is $after - $before, 1, 'a POST goes out once, kept connections or not';


# --- an instance of a service

my %picked;
$picked{ ask(url => 'http://peer.opay.internal/ok',
             service => 'peer')->{outcome} }++ for 1 .. 10;

is_deeply \%picked, { answered => 5, not_sent => 5 },
    'instances are picked in turn';
like ask(url => 'http://x/', service => 'nobody')->{outcome}, qr/^502 /,
    'a service that is not watched has none';


# --- TLS

my %own = (ca => "$rig->{dir}/ca.pem", cert => "$rig->{dir}/payment.pem",
    key => "$rig->{dir}/payment.key");
my $name = "https://order.opay.internal:$tls/";
my $at = "127.0.0.1:$tls";

$r = ask(url => $name, connectTo => $at, %own);
is_outcome($r, 'answered', 200, 'mutual TLS to a picked instance');
is $r->{reply}, 'CN=payment', '... as ourselves';

is ask(url => "https://auth.opay.internal:$tls/", connectTo => $at,
    method => 'POST', %own)->{outcome}, 'not_sent', 'another name is refused';
is ask(url => $name, connectTo => $at, method => 'POST', %own,
    ca => "$rig->{dir}/payment.pem")->{outcome}, 'not_sent',
    'so is another CA';
is ask(url => $name, connectTo => $at, method => 'POST')->{outcome},
    'not_sent', 'and none';
is ask(url => $name, connectTo => $at, method => 'POST', %own,
    key => '/does/not/exist')->{outcome}, 'not_sent', 'a key that is missing';
is_outcome(ask(url => $name, connectTo => $at, ca => $own{ca}), 'answered',
    400, 'without a certificate the peer refuses');


# --- many at once, and a worker that quits

my @kids;

for my $i (1 .. 40) {
    my $kid = fork // die $!;
    push @kids, $kid;
    next if $kid;

    my $path = $i % 4 == 0 ? 'die' : $i % 4 == 1 ? 'slow' : 'ok';
    my $want = $i % 4 == 0 ? 'unknown' : 'answered';
    POSIX::_exit(ask(url => "$url/$path", method => $i % 2 ? 'POST' : 'GET')
        ->{outcome} ne $want);
}

my $wrong = 0;
for (@kids) { waitpid $_, 0; $wrong += !!$? }
is $wrong, 0, 'forty at once';

my $kid = fork // die $!;

if (!$kid) {
    POSIX::_exit(ask(url => "$url/slow", method => 'POST')->{reply} ne 'late');
}

my $seen = () = OpayRig::file($log) =~ /slow/g;
$rig->wait_for('it to be under way', 5, sub {
    (() = OpayRig::file($log) =~ /slow/g) > 10;
});
my $took = $rig->nginx_stop('probe', 'QUIT');
waitpid $kid, 0;
is $?, 0, 'a worker that quits waits for the answer';
ok defined $took && $took < 3, '... and goes then';


# --- worker_shutdown_timeout ends what is under way

$rig->nginx_start('short', workers => 1, shutdown => '500ms',
    main => "thread_pool p threads=1;\n", http => <<"END");
    server {
        listen 127.0.0.1:$port;
        opay_db unix:$rig->{dir}/no.sock;
        opay_db_name none;
        opay_db_user none;
        opay_pool read p;
        opay_pool write p;
        opay_pool hash p;
        opay_probe;
    }
END

my $hung = () = OpayRig::file($log) =~ /hang/g;
$kid = fork // die $!;

if (!$kid) {
    ask(url => "$url/hang", method => 'POST', timeout => 30000);
    POSIX::_exit(0);
}

$rig->wait_for('it to be under way', 5, sub {
    (() = OpayRig::file($log) =~ /hang/g) > $hung;
});
$took = $rig->nginx_stop('short', 'QUIT');
waitpid $kid, 0;
ok defined $took && $took < 3, 'worker_shutdown_timeout ends a transfer';

kill 'TERM', $pid;
waitpid $pid, 0;
$rig->logs_clean;

done_testing();
