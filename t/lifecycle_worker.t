#!/usr/bin/perl

# A worker leaves while it has a client in every state that there is.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Lifecycle;
use Test::Nginx::Process;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;

my $t = Test::Nginx->new()->plan(5);

lifecycle_run($t, shutdown => 3 * $SLOW . 's');

###############################################################################

# the clients leave, and then the worker
my ($worker, @clients) = everybody();
$t->reload();
sources();
$_ && $_->close() for @clients;
ok(gone($worker), 'a worker leaves after its clients');

# the clients stay, until the worker has waited long enough
($worker, @clients) = everybody();
$t->reload();
ok(gone($worker), 'and without them leaving, when its time is over');
@clients = ();
sources();
is(balance(), 0, 'every start has its end');

# a worker stops at once
($worker, @clients) = everybody();
my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
kill 'TERM', $master;
ok(gone($worker), 'and when it is told to stop');
my @bad = grep { /exited on signal|panic|open socket|Sanitizer/ } split /\n/, $t->read_file('error.log');
is("@bad", '', 'no worker dies of it');
# nginx has removed it, and the harness goes by it
$t->write_file('nginx.pid', $master);

###############################################################################

# A client in each state, and the worker that has them.
sub everybody {
	my @all = map { enter_state($_) } lifecycle_states();
	return ((worker_pids($t))[-1], @all);
}

sub gone {
	my ($pid) = @_;
	return wait_for { !kill 0, $pid } 15 * $SLOW;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
