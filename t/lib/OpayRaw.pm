package OpayRaw;

# HTTP/1 as it is on the wire: what a client library hides (two requests in
# one packet, a body nobody asked for, a line that is no HTTP) is what these
# tests are about.
#
#   my $c = OpayRaw->new($port);
#   $c->send("GET / HTTP/1.1\r\nHost: t\r\n\r\n");
#   my $r = $c->response;             {status, headers, body} or undef
#   $c->closed                        has the other side hung up?

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use Time::HiRes qw(time);


sub new {
    my ($class, $port) = @_;

    my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1',
        PeerPort => $port, Timeout => 5) or die "port $port: $!";

    return bless { s => $s, in => '' }, $class;
}


sub send {
    my ($self, $text) = @_;

    local $SIG{PIPE} = 'IGNORE';

    while (length $text) {
        my $n = syswrite $self->{s}, $text or return 0;
        substr($text, 0, $n) = '';
    }

    return 1;
}


# More input; false at its end, or after so many seconds.

sub more {
    my ($self, $seconds) = @_;

    return 0 if !IO::Select->new($self->{s})->can_read($seconds);

    return sysread $self->{s}, $self->{in}, 65536, length $self->{in};
}


# The next response; $head: it answers HEAD and has no body.

sub response {
    my ($self, %o) = @_;

    my $end = time + ($o{timeout} || 10);

    until ($self->{in} =~ /\r\n\r\n/) {
        $self->more($end - time) or return;
    }

    $self->{in} =~ s/\A(.*?)\r\n\r\n//s;

    my ($line, @h) = split /\r\n/, $1;
    my %h;

    for (@h) {
        my ($name, $value) = /^([^:]+):\s*(.*)$/ or die "header: $_";
        push @{ $h{ lc $name } }, $value;
    }

    my ($status) = $line =~ m{^HTTP/1\.[01] (\d+)} or die "line: $line";
    my %r = (status => $status, line => $line, all => \%h, body => '',
        headers => { map { $_ => join ', ', @{ $h{$_} } } keys %h });

    return \%r if $o{head} || $status == 204 || $status == 304;

    my $len = $r{headers}{'content-length'};

    if (!defined $len) {
        1 while $self->more($end - time);
        $r{body} = $self->{in};
        $self->{in} = '';

        return \%r;
    }

    while (length $self->{in} < $len) {
        $self->more($end - time) or return;
    }

    $r{body} = substr $self->{in}, 0, $len, '';

    return \%r;
}


sub json {
    my ($r) = @_;

    return eval { JSON::PP->new->utf8->decode($r->{body}) } || {};
}


sub closed {
    my ($self, $seconds) = @_;

    my $n = IO::Select->new($self->{s})->can_read($seconds || 5)
        ? sysread($self->{s}, $self->{in}, 65536, length $self->{in}) : undef;

    return defined $n && $n == 0 || (!defined $n && $!{ECONNRESET});
}


sub close { my ($self) = @_; CORE::close $self->{s}; return }

1;
