#!/usr/bin/perl

# A worker that dies takes its own sessions along and nothing else.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(5);

workers_run($t, 4);

###############################################################################

my %publisher = map { $_ => publisher("s$_") } 0 .. 11;
$_->send_video(0, key_frame(0)) for values %publisher;
my %player = map { $_ => player("s$_") } 0 .. 11;
$player{$_}->read_video() for keys %player;

# the master says so
$t->todo_alerts();
my ($victim) = worker_pids($t);
kill 'KILL', $victim;
ok(wait_for { my @pids = worker_pids($t); @pids == 4 && !grep { $_ == $victim } @pids },
	'a new worker takes its place');

my (@alive, @dead);
push @{$publisher{$_}->closed(0.1) ? \@dead : \@alive}, $_ for sort keys %publisher;
cmp_ok(scalar @alive, '>', 0, 'some publishers are still there');

# those who lost their publisher, their worker, or neither
my $good = 0;
for my $n (@alive) {
	$player{$n} = player("s$n") if $player{$n}->closed(0.1);
	$publisher{$n}->send_video(1000, key_frame(1));
	$good++ if $player{$n}->read_until(sub { $_[0]{payload} eq key_frame(1) });
}
is($good, scalar @alive, 'they are played on');

my $again = 0;
for my $n (@dead) {
	$publisher{$n} = publisher("s$n");
	$again++ if $publisher{$n}->status() eq 'NetStream.Publish.Start';
	$player{$n} = player("s$n") if $player{$n}->closed(0.1);
	$publisher{$n}->send_video(0, key_frame(2));
	$again++ if $player{$n}->read_until(sub { $_[0]{payload} eq key_frame(2) });
}
is($again, 2 * @dead, 'the names of the others are free, and their players find them again');

my @left = grep { /inner\.$victim/ } glob($t->testdir() . '/inner.*');
is(scalar @left, 0, 'its sockets are removed');

###############################################################################
