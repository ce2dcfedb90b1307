package OpayDb;

# A MariaDB of a test's own, which it may stop, kill and start again; the one
# of tools/with-db.sh is shared by the files that run beside it.
#
#   my $db = OpayDb->new($rig);       installed and started
#   $db->sql('SELECT 1');             rows as lines, columns by tabs
#   $db->stop('KILL'); $db->start;

use strict;
use warnings;

use POSIX qw(:sys_wait_h);
use Test::More ();


sub found {
    return !system 'command -v mariadbd mariadb-install-db > /dev/null'
        . ' 2>&1';
}


sub new {
    my ($class, $rig) = @_;

    my $dir = "$rig->{dir}/mariadb";

    mkdir $dir or die "$dir: $!";
    mkdir "$dir/tmp" or die "$dir/tmp: $!";
    chmod 0755, $dir;

    my $self = bless { rig => $rig, dir => $dir, socket => "$dir/sock" },
        $class;
    my $user = getpwuid $>;

    local $ENV{TMPDIR} = "$dir/tmp";

    system("mariadb-install-db --no-defaults --user=$user"
        . " --datadir=$dir/data --auth-root-authentication-method=normal"
        . " --skip-test-db > $dir/install.log 2>&1") == 0
        or Test::More::BAIL_OUT(OpayRig::file("$dir/install.log"));

    $self->start;

    return $self;
}


sub start {
    my ($self) = @_;

    my $dir = $self->{dir};
    my $user = getpwuid $>;
    my $pid = fork // die $!;

    if (!$pid) {
        $ENV{TMPDIR} = "$dir/tmp";
        open STDOUT, '>>', "$dir/log" or die $!;
        open STDERR, '>&', \*STDOUT or die $!;
        exec 'mariadbd', '--no-defaults', "--user=$user",
            "--datadir=$dir/data", "--socket=$self->{socket}",
            "--pid-file=$dir/pid", '--skip-networking', '--skip-log-bin',
            '--character-set-server=utf8mb4',
            '--collation-server=utf8mb4_bin',
            '--innodb-flush-log-at-trx-commit=2',
            '--innodb-buffer-pool-size=32M', '--innodb-log-file-size=16M',
            '--performance-schema=OFF' or POSIX::_exit(1);
    }

    $self->{rig}{pids}{mariadb} = $pid;
    $self->{pid} = $pid;

    $self->{rig}->wait_for('MariaDB to answer', 60, sub {
        system("mariadb --no-defaults -uroot -S $self->{socket}"
            . " -e 'SELECT 1' > /dev/null 2>&1") == 0
            || waitpid($pid, WNOHANG) != 0;
    });

    return;
}


sub stop {
    my ($self, $signal) = @_;

    return $self->{rig}->stop('mariadb', $signal || 'TERM');
}


sub sql {
    my ($self, $sql) = @_;

    open my $f, '>', "$self->{dir}/in" or die $!;
    print $f $sql;
    close $f or die $!;

    my $out = `mariadb --no-defaults -N -uroot -S $self->{socket} \\
        < $self->{dir}/in 2>&1`;
    Test::More::diag($out) if $?;

    chomp $out;

    return $out;
}


# The schema that the probe service of t/probe works on.

sub probe_schema {
    my ($self) = @_;

    my $common = OpayRig::file(
        glob "$OpayRig::root/db/order/*_common.sql");

    # the part that goes up, without grants to users who are not here
    $common =~ s/^-- migrate:down.*//ms;
    $common =~ s/^GRANT[^;]*;//msg;

    $self->sql("CREATE DATABASE probe; USE probe; $common
        CREATE TABLE probe (id BIGINT AUTO_INCREMENT PRIMARY KEY,
            k BINARY(32) NOT NULL, tag VARCHAR(64) NULL, KEY (k));
        CREATE TABLE probe_poison (v INT NOT NULL PRIMARY KEY,
            CHECK (v BETWEEN 0 AND 99));");

    return;
}

1;
