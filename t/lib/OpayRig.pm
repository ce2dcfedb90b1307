package OpayRig;

# Several nginx instances and a Consul agent for one test file: what
# Test::Nginx, with its one nginx, cannot do.  Everything lives in a temporary
# directory, is stopped by pid, and waits for conditions, never for time.
#
#   OPAY_MODULES      folder of the .so files (default: build/modules)
#   OPAY_LOAD         which of them, in order
#   OPAY_NGINX        nginx binary
#   OPAY_CONSUL_BIN   consul binary
#   OPAY_TEST_PORT    first port to try (default: by process id, so that
#                     files which run at the same time keep apart)
#   OPAY_PRELOAD      LD_PRELOAD for nginx (sanitizer runtime)

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use HTTP::Tiny;
use IO::Socket::INET;
use JSON::PP qw(decode_json);
use POSIX qw(:sys_wait_h);
use Test::More ();
use Time::HiRes qw(time sleep);

our $root = abs_path(dirname(__FILE__) . '/../..');

# tools/prove.sh --asan speaks Test::Nginx
$ENV{OPAY_PRELOAD} ||= $ENV{TEST_NGINX_LD_PRELOAD} || '';


sub new {
    my ($class) = @_;

    my $self = bless {
        dir   => tempdir('opay-rig-XXXXXX', TMPDIR => 1, CLEANUP => 1),
        next  => $ENV{OPAY_TEST_PORT} || 12000 + ($$ % 60) * 100,
        nginx => {},
        pids  => {},
        owner => $$,
    }, $class;

    # workers drop to another user
    chmod 0755, $self->{dir};

    return $self;
}


# A port nobody listens on now.

sub port {
    my ($self) = @_;

    for (1 .. 500) {
        my $port = $self->{next}++;
        my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
            LocalPort => $port, Listen => 1, ReuseAddr => 1);

        return $port if $s;
    }

    die "no free port";
}


sub wait_for {
    my ($self, $what, $seconds, $cond) = @_;

    my $end = time + $seconds;

    while (time < $end) {
        my $got = eval { $cond->() };
        return $got if $got;
        sleep 0.02;
    }

    Test::More::diag("waited ${seconds}s for: $what");

    return;
}


sub http {
    my ($self, $method, $url, %o) = @_;

    my $ua = HTTP::Tiny->new(timeout => $o{timeout} || 10, max_redirect => 0,
        keep_alive => 0, proxy => undef, http_proxy => undef);

    return $ua->request($method, $url,
        { headers => $o{headers} || {},
          defined $o{body} ? (content => $o{body}) : () });
}

sub get { my ($self, $url, %o) = @_; return $self->http('GET', $url, %o) }


# --- nginx

sub modules {
    my $dir = $ENV{OPAY_MODULES} || "$root/build/modules";
    my @load = split ' ', $ENV{OPAY_LOAD}
        // 'ngx_opay_core_module.so ngx_opay_gateway_module.so';

    return map { m{/} ? $_ : "$dir/$_" } @load;
}


# http => text of http{}; main => text before it; shutdown => how long a worker
# may take to go.  Nothing is started yet.

sub nginx_conf {
    my ($self, $name, %o) = @_;

    my $dir = "$self->{dir}/$name";
    my $load = join '', map { "load_module $_;\n" } $self->modules;
    my $workers = $o{workers} || 2;
    my $main = $o{main} || '';
    my $http = $o{http};

    make_path("$dir/logs", "$dir/state", "$dir/tmp");
    chmod 0777, "$dir/state", "$dir/logs", "$dir/tmp";

    open my $f, '>', "$dir/nginx.conf" or die "$dir/nginx.conf: $!";
    print $f <<"END";
$load
worker_processes $workers;
pid $dir/nginx.pid;
error_log $dir/logs/error.log info;
worker_shutdown_timeout @{[ $o{shutdown} || '10s' ]};
$main
events { worker_connections 256; }
http {
    access_log $dir/logs/access.log;
    client_body_temp_path $dir/tmp/body;
    proxy_temp_path $dir/tmp/proxy;
    fastcgi_temp_path $dir/tmp/fastcgi;
    uwsgi_temp_path $dir/tmp/uwsgi;
    scgi_temp_path $dir/tmp/scgi;
$http
}
END
    close $f or die $!;

    return $dir;
}


sub nginx_bin {
    return $ENV{OPAY_NGINX} if $ENV{OPAY_NGINX};

    for my $dir (split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin') {
        return "$dir/nginx" if -x "$dir/nginx";
    }

    die "no nginx";
}


sub nginx_cmd {
    my ($self, $name) = @_;

    my $dir = "$self->{dir}/$name";

    return ($self->nginx_bin, '-p', "$dir/", '-e', "$dir/logs/error.log",
        '-c', "$dir/nginx.conf");
}


# "nginx -t": (exit code, output)

sub nginx_test {
    my ($self, $name) = @_;

    my $cmd = join ' ', map { "'$_'" } $self->nginx_cmd($name), '-t';

    local $ENV{LD_PRELOAD} = $ENV{OPAY_PRELOAD} if $ENV{OPAY_PRELOAD};
    my $out = `$cmd 2>&1`;

    return ($? >> 8, $out);
}


sub nginx_start {
    my ($self, $name, %o) = @_;

    my $dir = $self->nginx_conf($name, %o);

    my $pid = fork // die $!;

    if (!$pid) {
        open STDOUT, '>>', "$dir/logs/out" or die $!;
        open STDERR, '>&', \*STDOUT or die $!;
        $ENV{LD_PRELOAD} = $ENV{OPAY_PRELOAD} if $ENV{OPAY_PRELOAD};
        exec $self->nginx_cmd($name), '-g', 'daemon off;' or POSIX::_exit(1);
    }

    $self->{pids}{"nginx $name"} = $pid;

    my $gone;

    $self->wait_for("nginx $name to start", 15, sub {
        $gone = waitpid($pid, WNOHANG) == $pid;
        $gone || -s "$dir/nginx.pid";
    });

    if ($gone || !-s "$dir/nginx.pid") {
        delete $self->{pids}{"nginx $name"} if $gone;
        Test::More::BAIL_OUT("nginx $name: " . $self->log($name)
            . file("$dir/logs/out"));
    }

    return $pid;
}


sub signal {
    my ($self, $name, $sig) = @_;
    kill $sig, $self->{pids}{"nginx $name"} or die "nginx $name: $!";
}


# Signals and waits for the end; how long it took, or undef.

sub nginx_stop {
    my ($self, $name, $sig) = @_;

    return $self->stop("nginx $name", $sig || 'QUIT');
}


sub stop {
    my ($self, $key, $sig) = @_;

    my $pid = delete $self->{pids}{$key} or return 0;
    my $t = time;

    kill $sig, $pid;

    my $ok = $self->wait_for("$key to end on $sig", 20, sub {
        waitpid($pid, WNOHANG) != 0;
    });

    if (!$ok) {
        kill 'KILL', $pid;
        waitpid($pid, 0);
        return;
    }

    return time - $t;
}


sub workers {
    my ($self, $name) = @_;

    my $pid = $self->{pids}{"nginx $name"};

    return split ' ', `ps -o pid= --ppid $pid`;
}


sub file {
    my ($path) = @_;

    open my $f, '<', $path or return '';
    local $/;

    return scalar(<$f>) // '';
}

sub log { my ($self, $name) = @_; return file("$self->{dir}/$name/logs/error.log") }


# Every file of every instance: nothing that must not be in an error log.

sub logs_clean {
    my ($self) = @_;

    my @bad;

    for my $path (glob "$self->{dir}/*/logs/*") {
        push @bad, map { "$path: $_" }
            grep { /\[(alert|emerg)\]|Sanitizer|runtime error:/ }
            split /\n/, file($path);
    }

    Test::More::is(join("\n", @bad), '', 'no alerts, no sanitizer reports');
}


# --- Consul

sub consul_bin {
    for my $bin ($ENV{OPAY_CONSUL_BIN},
                 (map { "$_/consul" } split /:/, $ENV{PATH}),
                 "$root/.opay/parts/consul/usr/bin/consul")
    {
        return $bin if $bin && -x $bin;
    }

    return;
}


# Development mode: what is registered is forgotten when the agent ends.

sub consul_start {
    my ($self) = @_;

    my $dir = "$self->{dir}/consul";
    make_path($dir);

    $self->{consul} ||= $self->port;
    $self->{consul_ports} ||= [map { $self->port } 1 .. 2];

    my ($server, $lan) = @{ $self->{consul_ports} };
    my $pid = fork // die $!;

    if (!$pid) {
        open STDOUT, '>>', "$dir/log" or die $!;
        open STDERR, '>&', \*STDOUT or die $!;
        exec consul_bin(), 'agent', '-dev', '-node=rig', '-bind=127.0.0.1',
            "-http-port=$self->{consul}", "-server-port=$server",
            "-serf-lan-port=$lan", '-serf-wan-port=-1', '-dns-port=-1',
            '-grpc-port=-1', '-log-level=warn' or POSIX::_exit(1);
    }

    $self->{pids}{consul} = $pid;

    $self->wait_for('Consul to have a leader', 30, sub {
        my $r = $self->get($self->consul . '/v1/status/leader');
        $r->{success} && $r->{content} ne '""';
    }) or Test::More::BAIL_OUT('Consul: ' . file("$dir/log"));
}


sub consul { my ($self) = @_; return "http://127.0.0.1:$self->{consul}" }

sub consul_kill { my ($self) = @_; return $self->stop('consul', 'KILL') }


# id => worst check of every instance of a service

sub consul_instances {
    my ($self, $service) = @_;

    my $r = $self->get($self->consul . "/v1/health/service/$service");
    die "$r->{status} $r->{content}" if !$r->{success};

    my %out;

    for my $e (@{ decode_json($r->{content}) }) {
        my %st = map { $_->{Status} => 1 } @{ $e->{Checks} };
        $out{ $e->{Service}{ID} } = $st{critical} ? 'critical'
            : $st{warning} ? 'warning' : 'passing';
    }

    return \%out;
}


sub DESTROY {
    my ($self) = @_;

    return if $$ != $self->{owner};

    local $?;
    my @left = keys %{ $self->{pids} };
    $self->stop($_, 'TERM') for @left;
}

1;
