package OpayMint;

# Keys, access tokens and certificates for tests, made with the openssl
# program: independent of the code that will check them.
#
#   my $mint = OpayMint->new($dir);       jwks.json, ca.pem, <name>.pem in it
#   $mint->token($user_id, roles => ['USER'], ttl => 300)
#   $mint->cert('order')                  order.pem, order.key
#
# conf() is the http{} part that trusts the key.

use strict;
use warnings;

use Digest::SHA qw(sha256);
use MIME::Base64 qw(encode_base64url);
use JSON::PP ();

use constant ISSUER   => 'https://opay.test';
use constant AUDIENCE => 'opay';


sub new {
    my ($class, $dir) = @_;

    my $self = bless { dir => $dir }, $class;

    _run("openssl ecparam -name prime256v1 -genkey -noout -out $dir/jwt.key");

    my ($x, $y) = unpack 'a32a32',
        substr _run("openssl ec -in $dir/jwt.key -pubout -outform DER"), -64;

    $_ = encode_base64url($_) for $x, $y;

    $self->{kid} = encode_base64url(sha256(
        qq({"crv":"P-256","kty":"EC","x":"$x","y":"$y"})));

    _write("$dir/jwks.json", JSON::PP->new->canonical->encode({ keys => [{
        kty => 'EC', crv => 'P-256', x => $x, y => $y, alg => 'ES256',
        use => 'sig', kid => $self->{kid} }] }));

    return $self;
}


sub conf {
    my ($self) = @_;

    return "opay_jwt_jwks $self->{dir}/jwks.json;\n"
        . 'opay_jwt_issuer ' . ISSUER . ";\nopay_jwt_audience "
        . AUDIENCE . ";\n";
}


# An access token as the auth service makes them; claims => {..} overrides.

sub token {
    my ($self, $sub, %o) = @_;

    my $now = time;
    my %claims = (iss => ISSUER, aud => AUDIENCE, sub => $sub,
        sid => uuid(), jti => uuid(), iat => $now,
        exp => $now + ($o{ttl} || 300), roles => $o{roles} || ['USER'],
        %{ $o{claims} || {} });
    my $json = JSON::PP->new->canonical;
    my $text = join '.', map { encode_base64url($json->encode($_)) }
        { alg => 'ES256', typ => 'at+jwt', kid => $self->{kid} }, \%claims;

    _write("$self->{dir}/to-sign", $text);

    my $der = _run("openssl dgst -sha256 -sign $self->{dir}/jwt.key"
        . " $self->{dir}/to-sign");

    # SEQUENCE { INTEGER r, INTEGER s } to r || s
    my ($r, $s) = unpack 'x3 C/a x C/a', $der;

    $text .= '.' . encode_base64url(join '', map {
        s/^\0+//; ("\0" x (32 - length)) . $_ } $r, $s);

    return $text;
}


sub bearer {
    my ($self, @args) = @_;

    return { Authorization => 'Bearer ' . $self->token(@args) };
}


# A leaf <name>.pem, <name>.key under ca.pem, for both sides of TLS.

sub cert {
    my ($self, $name) = @_;

    my $dir = $self->{dir};

    if (!-f "$dir/ca.pem") {
        _run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
            . " -nodes -days 2 -subj '/CN=opay test CA' -keyout $dir/ca.key"
            . " -out $dir/ca.pem");
    }

    _write("$dir/$name.ext", "subjectAltName=DNS:$name.opay.internal,"
        . "URI:spiffe://opay/$name\nextendedKeyUsage=serverAuth,clientAuth\n"
        . "basicConstraints=critical,CA:FALSE\n");
    _run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
        . " -subj '/CN=$name' -keyout $dir/$name.key -out $dir/$name.csr");
    _run("openssl x509 -req -in $dir/$name.csr -CA $dir/ca.pem"
        . " -CAkey $dir/ca.key -CAcreateserial -days 2"
        . " -extfile $dir/$name.ext -out $dir/$name.pem");

    chmod 0644, "$dir/$name.key";

    return;
}


# A random version 7 UUID.

sub uuid {
    open my $f, '<', '/dev/urandom' or die $!;
    read $f, my $bytes, 10 or die $!;

    my $hex = sprintf('%012x', time * 1000) . unpack 'H*', $bytes;

    substr($hex, 12, 1) = '7';
    substr($hex, 16, 1) = 'a';

    return join '-', unpack 'A8 A4 A4 A4 A12', $hex;
}


sub _write {
    my ($path, $text) = @_;

    open my $f, '>', $path or die "$path: $!";
    print $f $text or die $!;
    close $f or die $!;

    return;
}


sub _run {
    my ($cmd) = @_;

    my $out = `$cmd 2>/dev/null`;
    die "$cmd: $?" if $?;

    return $out;
}

1;
