package OpayFakeConsul;

# A Consul agent that says what the test tells it to: answers that a real one
# gives only on bad days.  Serves blocking queries of one service.
#
#   my $fake = OpayFakeConsul->new($dir, $port);
#   $fake->say(index => 7, list => [...] | body => 'text', status => 500,
#              headers => { 'X-Consul-KnownLeader' => 'false' });
#
# A query with the index that is current waits until say() changes it.

use strict;
use warnings;

use IO::Socket::INET;
use JSON::PP qw(decode_json encode_json);
use POSIX ();
use Time::HiRes qw(time sleep);


sub new {
    my ($class, $dir, $port) = @_;

    my $self = bless { file => "$dir/fake-consul", port => $port,
        owner => $$ }, $class;

    $self->say(index => 1, list => []);

    my $listen = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
        LocalPort => $port, Listen => 64, ReuseAddr => 1) or die $!;

    $self->{pid} = fork // die $!;

    if (!$self->{pid}) {
        local $SIG{CHLD} = 'IGNORE';
        local $SIG{TERM} = 'DEFAULT';

        while (my $c = $listen->accept) {
            my $pid = fork // next;

            if (!$pid) {
                close $listen;
                eval { $self->serve($c) };
                POSIX::_exit(0);
            }
        }

        POSIX::_exit(0);
    }

    return $self;
}


# One entry of /v1/health/service

sub entry {
    my ($id, $port, $status, %o) = @_;

    return {
        Node    => { Node => 'n1', Address => '127.0.0.1' },
        Service => { ID => $id, Address => '127.0.0.1', Port => $port,
                     Weights => { Passing => 1, Warning => 1 },
                     %{ $o{service} || {} } },
        Checks  => [{ CheckID => 'serfHealth', Status => 'passing' },
                    { CheckID => "service:$id", Status => $status },
                    @{ $o{checks} || [] }],
    };
}


sub say {
    my ($self, %o) = @_;

    $self->{said} = () = $self->asked;
    $o{body} //= encode_json($o{list} || []);
    delete $o{list};

    open my $f, '>', "$self->{file}.new" or die $!;
    print $f encode_json(\%o);
    close $f or die $!;
    rename "$self->{file}.new", $self->{file} or die $!;

    return;
}


sub state {
    my ($self) = @_;

    open my $f, '<', $self->{file} or die $!;
    local $/;

    return decode_json(scalar <$f>);
}


# queries so far: "uri" or "uri token"

sub asked {
    my ($self) = @_;

    open my $f, '<', "$self->{file}.log" or return ();

    return map { chomp; $_ } <$f>;
}


sub asked_since_say {
    my ($self) = @_;

    my @all = $self->asked;

    return @all[$self->{said} .. $#all];
}


sub serve {
    my ($self, $c) = @_;

    while (defined(my $line = <$c>)) {

        my ($uri) = $line =~ /^\S+ (\S+)/;
        my $token = '';

        while (defined(my $h = <$c>)) {
            last if $h =~ /^\r?\n$/;
            $token = " $1" if $h =~ /^x-consul-token: *(\S+)/i;
        }

        open my $log, '>>', "$self->{file}.log" or die $!;
        syswrite $log, "$uri$token\n";
        close $log;

        my ($index) = $uri =~ /index=(\d+)/;
        my $st = $self->state;
        my $end = time + 55;

        while (defined $index && $st->{index} == $index && time < $end) {
            sleep 0.01;
            $st = $self->state;

            # a client that left is not waited for
            my $buf;
            my $n = sysread_nb($c, \$buf);
            return if defined $n && $n == 0;
        }

        return if $st->{hangup};

        my %h = ('Content-Type' => 'application/json',
            'X-Consul-Index' => $st->{index},
            'X-Consul-KnownLeader' => 'true',
            'Content-Length' => length($st->{body}) + ($st->{cut} || 0),
            %{ $st->{headers} || {} });

        delete $h{$_} for grep { !defined $h{$_} } keys %h;

        print $c 'HTTP/1.1 ', $st->{status} || 200, " X\r\n",
            (map { "$_: $h{$_}\r\n" } keys %h), "\r\n", $st->{body};
        $c->flush;

        return if $st->{cut};
    }

    return;
}


sub sysread_nb {
    my ($c, $buf) = @_;

    $c->blocking(0);
    my $n = sysread $c, $$buf, 1;
    $c->blocking(1);

    return $n;
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $self->{owner} || !$self->{pid};

    local $?;
    kill 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
}

1;
