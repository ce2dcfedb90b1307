package OpayProbe;

# What tests through the probe service of t/probe share: it is built, loaded
# behind core, and configured.

use strict;
use warnings;

use OpayRig;
use Test::More ();


sub build {
    my $asan = $ENV{OPAY_ASAN} ? '--asan' : '';

    system("$OpayRig::root/t/probe/build.sh $asan") == 0
        or Test::More::BAIL_OUT('t/probe/build.sh failed');

    $ENV{OPAY_LOAD} = 'ngx_opay_core_module.so ngx_opay_probe_module.so';

    return;
}


# Thread pools, and a user who may read what a test has made.

sub main {
    my (%o) = @_;

    my $threads = $o{threads} || 2;

    return ($> == 0 ? "user root;\n" : '')
        . join '', map { "thread_pool $_ threads=$threads;\n" } qw(rd wr hs);
}


# Directives of a server with the probe in it.

sub server {
    my (%o) = @_;

    my $db = $o{db} || '/nonexistent/sock';
    my $pool = $o{pool} || '';

    return <<"END";
        opay_db unix:$db;
        opay_db_name probe;
        opay_db_user root;
        opay_pool read rd $pool;
        opay_pool write wr $pool;
        opay_pool hash hs;
        opay_probe;
END
}

1;
