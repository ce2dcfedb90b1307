#!/usr/bin/perl

# The order service's operations on a real database, run as a pool thread
# runs them: t/order, a C program, each of its tests one line here.

use strict;
use warnings;

use OpayRig;
use Test::More;

my $asan = $ENV{OPAY_ASAN} ? '--asan' : '';

# the program brings its own sanitizers, and reports to where we see it
delete local @ENV{qw(ASAN_OPTIONS UBSAN_OPTIONS LD_PRELOAD)};

my @out = `$OpayRig::root/t/order/run.sh $asan 2>&1`;
my $rc = $?;
my %seen;

for (@out) {
    ok(1, $1) if /^\[       OK \] (\w+)/;
    ok(0, $1) if /^\[  FAILED  \] (\w+)$/ && !$seen{$1}++;
}

is($rc, 0, 't/order/run.sh') or diag(@out);

done_testing();
