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
# what a life may leave behind, in KiB: it adds up
my $LEFT = 2;
# seconds: what is kept of a stream for those who come back soon is gone then
my $LINGER = 1.5;

# the allocator gives back at once what is free, so that what is seen is what is in use; by default
# it keeps more, the more it was asked for, and that swings by MiBs
$ENV{$_} = 65536 for qw/ MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_ /;
$ENV{MALLOC_ARENA_MAX} = 1;

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
	# some have a publisher with them
	@clients = ();
	return left();
}

# warm
live();
my @memory;
for (1 .. $MEASURED) {
	ok(live(), "$LIVES lives by chance");
	push @memory, least_kb();
}
cmp_ok(slope(@memory) / $LIVES, '<', $LEFT, 'KiB that a life leaves behind') or diag("@memory");
note("KiB after each: @memory, slope ", slope(@memory) / $LIVES);
is(balance(), 0, 'every start has its end');
is((worker_pids($t))[0], $worker, 'the worker lives');

###############################################################################

# By how much the values grow from one to the next: the median of what each two of them say, which
# some that are off do not change.
sub slope {
	my @values = @_;
	my @slopes = sort { $a <=> $b } map {
		my $i = $_;
		map { ($values[$_] - $values[$i]) / ($_ - $i) } $i + 1 .. $#values;
	} 0 .. $#values;
	return @slopes ? $slopes[@slopes / 2] : 0;
}

# The memory in use when what lingers is gone.
sub least_kb {
	my $least = rss_kb($worker);
	wait_until($LINGER, sub {
		my $kb = rss_kb($worker);
		$least = $kb if $kb < $least;
		return 0;
	});
	return $least;
}

# Nothing of any client is open.
sub left {
	return wait_for { fd_count($worker) <= $files } 15;
}

###############################################################################
