#!/usr/bin/perl

# A worker that is busy while many streams begin and end in another one misses none: its
# players that wait for them play.

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

# the kernel keeps ten datagrams for a socket
my $STREAMS = 60;

my $t = Test::Nginx->new()->plan(4);

workers_run($t, 2);

###############################################################################

my ($busy, $other) = worker_pids($t);
my @players = clients_of($busy);
my @publishers = clients_of($other);
my @next = clients_of($other);
$players[$_]->play("s$_") for 0 .. $#players;

kill 'STOP', $busy;
$publishers[$_]->publish("s$_") for 0 .. $#publishers;
is(scalar(grep { $_->status() eq 'NetStream.Publish.Start' } @publishers), $STREAMS,
	'nobody waits for a worker that is busy');
$publishers[$_]->send_video(0, key_frame($_)) for 0 .. $#publishers;
kill 'CONT', $busy;
is(fed(0), $STREAMS, 'it has heard of all streams');

# all of them are exchanged

kill 'STOP', $busy;
$_->close() for splice @publishers, 0, $STREAMS, @next;
$publishers[$_]->publish("s$_") for 0 .. $#publishers;
$publishers[$_]->send_video(0, key_frame(1000 + $_)) for 0 .. $#publishers;
kill 'CONT', $busy;
is(fed(1000), $STREAMS, 'and of all their next publishers');
my @lines = grep { /hangs/ } split /\n/, $t->read_file('error.log');
is("@lines", '', 'it was not taken for dead');

###############################################################################

# So many clients that this worker has accepted.
sub clients_of {
	my ($worker) = @_;
	my @clients;
	while (@clients < $STREAMS) {
		my $client = rtmp_connect(port(1935), 'live');
		push @clients, $client if worker_of($t, $client) == $worker;
	}
	return @clients;
}

# How many of the players get the frame of their stream, up to the first that does not.
sub fed {
	my ($first) = @_;
	for my $n (0 .. $#players) {
		$players[$n]->read_until(sub { $_[0]{payload} eq key_frame($first + $n) }) or return $n;
	}
	return scalar @players;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
