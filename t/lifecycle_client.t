#!/usr/bin/perl

# A client leaves, in every state that there is: nothing is left of it.

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

my $ROUNDS = 3;
# lives by chance, and how often so many are lived before memory is measured again
my $LIVES = 150;
my $MEASURED = $ENV{TEST_NGINX_SANITIZE} ? 1 : 12;
# what the allocator keeps swings by a MiB; what a life leaves behind adds up, in KiB of each
my $LEFT = 2;

my @states = lifecycle_states();
my $t = Test::Nginx->new()->plan(2 * @states + 4 + $MEASURED);

lifecycle_run($t);

###############################################################################

my ($worker) = worker_pids($t);
my $files = fd_count($worker);

for my $state (@states) {
	for my $leave (qw/ close abort /) {
		for (1 .. $ROUNDS) {
			my $client = enter_state($state);
			$client->$leave() if $client;
		}
		ok(left(), "$state: $leave") or diag(fd_count($worker) . " files, $files before");
	}
}
is(balance(), 0, 'every start has its end');

# by chance, some at the same time
sub live {
	my @clients;
	for (1 .. $LIVES) {
		push @clients, enter_state($states[rand @states]);
		next if @clients < 10;
		my ($client) = splice @clients, rand @clients, 1;
		my $leave = rand() < 0.5 ? 'close' : 'abort';
		$client->$leave() if $client;
	}
	$_ && $_->close() for @clients;
	return left();
}

# warm
live();
my @memory;
for (1 .. $MEASURED) {
	ok(live(), "$LIVES lives by chance");
	push @memory, rss_kb($worker);
}
cmp_ok(slope(@memory) / $LIVES, '<', $LEFT, 'KiB that a life leaves behind') or diag("@memory");
is(balance(), 0, 'every start has its end');
is((worker_pids($t))[0], $worker, 'the worker lives');

###############################################################################

# By how much the values grow from one to the next: least squares.
sub slope {
	my $middle = (@_ - 1) / 2;
	my ($sum, $squares) = (0, 0);
	for my $i (0 .. $#_) {
		$sum += ($i - $middle) * $_[$i];
		$squares += ($i - $middle) ** 2;
	}
	return $squares ? $sum / $squares : 0;
}

# Nothing of any client is open.
sub left {
	return wait_for { fd_count($worker) <= $files } 15;
}

###############################################################################
