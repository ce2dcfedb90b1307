#!/usr/bin/perl

# Directives of core and of the services refuse what cannot be meant, at
# "nginx -t", and say which directive it was.  (Those of the gateway and of
# discovery: t/200-gateway-conf.t.)

use strict;
use warnings;

use OpayMint;
use OpayProbe;
use OpayRig;
use Test::More;

OpayProbe::build();

my $rig = OpayRig->new;
my $mint = OpayMint->new($rig->{dir});
my $dir = $rig->{dir};
my $port = $rig->port;

$ENV{OPAY_LOAD} = join ' ', map { "ngx_opay_${_}_module.so" }
    qw(core auth gateway user order payment probe);

# what "./opay up" makes
{
    local $ENV{OPAY_STATE} = "$dir/st";
    system("bash $OpayRig::root/tools/opay/secrets.sh > /dev/null 2>&1") == 0
        or BAIL_OUT('secrets.sh failed');
}

my $secrets = "$dir/st/secrets";
chomp(my $kid = OpayRig::file("$secrets/jwt/current"));


sub put {
    my ($name, $text) = @_;

    open my $f, '>', "$dir/$name" or die $!;
    print $f $text;
    close $f;

    return "$dir/$name";
}

my $empty = put('empty', '');
my $blank = put('blank', "\nsecond line\n");
my $junk = put('junk', "junk\n");
my $big = put('big', 'x' x 20000);
my $none = "$dir/does-not-exist";


# Parts that are right: a case replaces or adds one directive.

my $db = "opay_db unix:/s; opay_db_name n; opay_db_user u;\n"
    . "opay_pool read rd; opay_pool write wr; opay_pool hash hs;\n";
my $jwt = $mint->conf;

my %server = (
    probe   => "$db opay_probe;",
    auth    => "$db opay_auth; opay_auth_signing_key $secrets/jwt/$kid.pem;"
        . " opay_auth_jwks $secrets/jwt/jwks.json;"
        . " opay_auth_refresh_key $secrets/refresh.key;"
        . " opay_auth_pepper $secrets/pepper.key;",
    order   => "$db opay_order; opay_order_cursor_key $secrets/cursor.key;",
    payment => "$db opay_payment; opay_payment_cursor_key"
        . " $secrets/cursor.key; opay_payment_provider toss"
        . " url=http://127.0.0.1:1 secret_file=$secrets/pgsim.key;",
    user    => "$db opay_user;",
);


sub try {
    my ($http, $server) = @_;

    $rig->nginx_conf('t', main => OpayProbe::main(), http => $http
        . (defined $server ? "server { listen 127.0.0.1:$port; $server }"
                           : ''));

    return $rig->nginx_test('t');
}


# The text of $what with a directive put in place of its namesake.

sub with {
    my ($what, $line) = @_;

    my $text = $server{$what};
    my ($name) = $line =~ /^(\S+)/;
    $name = quotemeta $line =~ /^(opay_pool \S+)/ ? $1 : $name;

    $text =~ s/\b$name(\s[^;]*)?;// or 1;

    return "$text $line";
}


for my $what (sort keys %server) {
    my ($code, $out) = try($what eq 'auth' ? "opay_jwt_jwks"
        . " $secrets/jwt/jwks.json; opay_jwt_issuer i; opay_jwt_audience a;"
        : $jwt, $server{$what});

    is $code, 0, "accepted: opay_$what" or diag $out;
    unlike $out, qr/\[(warn|alert)\]/, '... without a murmur';
}


# [where, directive as written, what else the message says]

my @cases = (
    # core, http{}
    (map { ['http', "opay_zone $_;", qr/"\Q$_\E"/] } qw(1k 31k x -1 0)),
    ['http', 'opay_zone;', qr/invalid number of arguments/],
    ['http', 'opay_zone 1m; opay_zone 2m;', qr/is duplicate/],
    ['http', "opay_jwt_jwks $none;", qr/needs "opay_jwt_issuer"/],
    (map { ['http', "opay_jwt_issuer i; opay_jwt_audience a;"
        . " opay_jwt_jwks $_;", qr/cannot use "\Q$_\E"/] }
        $none, $empty, $junk, $big),
    (map { ['http', "opay_jwt_leeway $_;", qr/./] } qw(61s x -1s)),
    (map { ['http', "opay_jwt_cache $_;", qr/./] } qw(-1 x 1048577)),

    # core, server{}
    (map { ['probe', "opay_db $_;", qr/"\Q$_\E"/] }
        qw(unix: host host: :3306 host:0 host:65536 host:port host:33x),
        'unix:/' . 'x' x 120),
    ['probe', 'opay_db "";', qr/./],
    ['probe', 'opay_db unix:/a; opay_db unix:/b;', qr/is duplicate/],
    ['probe', 'opay_db_name "";', qr/./],
    ['probe', 'opay_db_user "";', qr/./],
    (map { ['probe', "opay_db_password_file $_;", qr/"\Q$_\E"/] }
        $none, $empty, $blank, $big),
    (map { ['probe', "opay_db_timeout $_;", qr/./] } qw(0 0s x -1 61s 1h)),
    (map { ['probe', "opay_db_connect_timeout $_;", qr/./] }
        qw(0 x -1 61s)),
    (map { ['probe', "opay_db_lock_timeout $_;", qr/./] } qw(0 x -1 61s)),
    ['probe', 'opay_pool read;', qr/invalid number of arguments/],
    ['probe', 'opay_pool delete rd;', qr/not "delete"/],
    ['probe', 'opay_pool read rd; opay_pool read wr;', qr/is duplicate/],
    (map { ['probe', "opay_pool read rd $_;", qr/"\Q$_\E"/] }
        qw(slots=0 slots=65 slots=x slots= queue=0 queue=65537 queue=x
           wait=0 wait=x wait=-1 size=1 slots)),
    (map { ['probe', "opay_event_notify $_;", qr/"\Q$_\E"/] }
        qw(/s unix: tcp:1), 'unix:/' . 'x' x 120),
    ['probe', 'opay_event_notify unix:/a; opay_event_notify unix:/b;',
        qr/is duplicate/],
    (map { ['probe', "opay_internal_peers $_;", qr/"\Q$_\E"/] }
        qw(Order order.x spiffe://opay/order *)),
    ['probe', 'opay_internal_peers;', qr/invalid number of arguments/],
    (map { ['probe', "opay_shutdown_hold $_;", qr/./] } qw(0 x -1)),
    ['probe', 'opay_problem maybe;', qr/"maybe"/],
    ['probe', 'opay_status;', qr/not allowed here/],

    # auth
    (map { my $d = $_; map { ['auth', "$d $_;", qr/\Q$_\E/] } $none, $empty,
        $junk } qw(opay_auth_signing_key opay_auth_jwks
                   opay_auth_refresh_key opay_auth_pepper)),
    ['auth', "opay_auth_jwks $dir/jwks.json;", qr/lacks the public half/],
    (map { ['auth', "opay_auth_access_ttl $_;", qr/./] } qw(0 x 2h -1)),
    (map { ['auth', "opay_auth_refresh_ttl $_;", qr/./] } qw(x -1)),
    (map { ['auth', "opay_auth_session_ttl $_;", qr/./] } qw(x -1)),
    (map { ['auth', "opay_auth_refresh_grace $_;", qr/./] } qw(x -1)),
    (map { ['auth', "opay_auth_argon2 $_;", qr/./] } 'm=64',
        'm=1 t=1 p=1', 'm=64 t=0 p=1', 'm=64 t=1 p=0', 'm=x t=1 p=1',
        'm=64 t=1 q=1', 'm=99999999 t=1 p=1'),
    ['auth', "opay_auth_admin nobody $secrets/admin_password;", qr/nobody/],
    ['auth', "opay_auth_admin a\@b.test $none;", qr/\Q$none\E/],

    # order
    (map { ['order', "opay_order_cursor_key $_;", qr/\Q$_\E/] } $none,
        $empty, $junk),
    (map { ['order', "opay_order_ttl $_;", qr/./] } qw(x -1)),
    (map { ['order', "opay_order_expiry_grace $_;", qr/./] } qw(x -1)),

    # payment
    (map { ['payment', "opay_payment_cursor_key $_;", qr/\Q$_\E/] } $none,
        $empty, $junk),
    (map { ['payment', "opay_payment_provider $_;", qr/./] }
        'toss', "toss url=http://h:1",
        "toss secret_file=$secrets/pgsim.key",
        "toss url=ftp://h secret_file=$secrets/pgsim.key",
        "toss url=http://h:1 secret_file=$none",
        "toss url=http://h:1 secret_file=$empty",
        "toss url=http://h:1 secret_file=$secrets/pgsim.key timeout=x",
        "toss url=http://h:1 secret_file=$secrets/pgsim.key more=1",
        "nobody url=http://h:1 secret_file=$secrets/pgsim.key"),
);

for my $case (@cases) {
    my ($where, $line, $why) = @$case;

    my ($code, $out) = $where eq 'http' ? try("$line\n")
        : try($jwt, with($where, $line));
    my ($name) = $line =~ /(\w+)[^;]*;\s*$/;
    $name = 'opay_jwt_jwks' if $line =~ /opay_jwt_jwks/;

    (my $short = $line) =~ s/x{20,}/x../g;
    $short =~ s/\Q$dir\E/DIR/g;

    isnt $code, 0, "refused: $short";
    like $out, qr/"?\Q$name\E"?/, '... named' or diag $out;
    like $out, $why, '... and why';
}


# What a service cannot do without.

for my $what (sort keys %server) {
    for my $line (grep { /^opay_(db|auth_|order_|payment_)/ }
        $server{$what} =~ /(opay_\w+)\s[^;]*;/g)
    {
        (my $text = $server{$what}) =~ s/\b\Q$line\E\s[^;]*;//;

        my ($code, $out) = try($jwt, $text);

        isnt $code, 0, "opay_$what without $line: refused";
        like $out, qr/"$line"|"opay_$what" needs/, '... named';
    }

    for my $lane (qw(read write hash)) {
        (my $text = $server{$what}) =~ s/opay_pool $lane \w+;//;
        my ($code, $out) = try($jwt, $text);

        next if $code == 0;               # this one needs no such lane
        like $out, qr/"opay_$what" needs "opay_pool $lane/,
            "opay_$what without opay_pool $lane: named";
    }

    next if $what eq 'probe';
    my ($code, $out) = try($jwt, "$server{$what} opay_probe;");
    isnt $code, 0, "opay_$what and another: refused";
    like $out, qr/this server has "opay_$what" already/, '... named';
}

{
    (my $text = $server{probe}) =~ s/read rd/read nowhere/;
    my ($code, $out) = try($jwt, $text);

    isnt $code, 0, 'an unknown thread pool: refused';
    like $out, qr/unknown thread pool "nowhere" in \S+:\d+/, '... where';
}


# What is set once in http{} holds for every server.

{
    my $other = $rig->port;
    (my $rest = $server{probe}) =~ s/opay_db unix:\S+;//;

    my ($code, $out) = try("$jwt opay_db db.test:3306;"
        . " server { listen 127.0.0.1:$other; $rest }", $rest);

    is $code, 0, 'opay_db host:port, inherited by two' or diag $out;
}

done_testing;
