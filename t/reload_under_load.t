#!/usr/bin/perl

# Fifty reloads under twenty publishers and a hundred players: nobody who stays misses a
# frame, those who come find the streams of older workers, and nothing is left behind.

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

use constant {
	RELOADS => 50,
	WORKERS => 2,
	STREAMS => 20,
	PLAYERS => 100,
	# at each reload so many of them leave, and others come; now and then a publisher too
	COME_AND_GO => 3,
	PUBLISHER_EVERY => 7,
	# of the application
	CLIENTS => 130,
};

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;

my $t = Test::Nginx->new()->plan(10);

workers_run($t, WORKERS, main => 'worker_shutdown_timeout 10m;',
	app => 'max_connections ' . CLIENTS . ';');

###############################################################################

# each worker has served somebody, and so has opened all it needs
my @first = map { player('first') } 1 .. 8 * WORKERS;
$_->close() for @first;
my ($was, @at_start) = ('');
wait_for {
	@at_start = map { fd_count($_) } worker_pids($t);
	my $same = !grep { $_ != $at_start[0] } @at_start;
	($was, my $before) = ("@at_start", $was);
	$same && $was eq $before;
};

# per stream: the publisher and the number of its last frame, which is never used twice
my @streams = map { { publisher => publisher("s$_"), frame => 0 } } 0 .. STREAMS - 1;
$streams[$_]{publisher}->send_video(0, frame($_)) for 0 .. $#streams;

my ($missed, $lost, $late) = (0, 0, 0);
my @players = map { join_stream($_ % STREAMS) } 1 .. PLAYERS;

for my $round (1 .. RELOADS) {
	$t->reload();

	for (1 .. COME_AND_GO) {
		my $leaves = shift @players;
		$round % 2 ? $leaves->{client}->close() : $leaves->{client}->abort();
		push @players, join_stream($leaves->{stream});
	}
	republish($round % STREAMS) if $round % PUBLISHER_EVERY == 0;
	send_frames();
	receive_frames();
}

is($missed, 0, 'those who stay miss no frame');
is($lost, 0, 'and are not thrown out');
is($late, 0, 'those who come play at once, whatever worker has the stream');

$_->{client}->close() for @players;
$_->{publisher}->close() for @streams;

ok((wait_for { WORKERS == (() = worker_pids($t)) } 20 * $SLOW),
	'old workers leave when their sessions have ended');
ok((wait_for { WORKERS * 2 == (() = inner_sockets($t)) }),
	'and take their sockets along');

# new workers have the descriptors that the first ones had
my @now;
ok((wait_for { @now = map { fd_count($_) } worker_pids($t); "@now" eq "@at_start" }),
	'no descriptor is left') or diag("@at_start before, @now now");

# the directory holds no ghost: all names are free, and all places
my @again = map { publisher("s$_") } 0 .. STREAMS - 1;
is(scalar(grep { $_->status() eq 'NetStream.Publish.Start' } @again), STREAMS,
	'every name is free');
push @again, map { player("s$_") } 1 .. CLIENTS - STREAMS;
is(scalar(grep { $_->status() eq 'NetStream.Play.Start' } @again[STREAMS .. $#again]),
	CLIENTS - STREAMS, 'and every place');
is(player('one more')->status(), 'NetStream.Play.Forbidden', 'but no more than that');

my @bad = grep { /exited on signal|panic|open socket/ } split /\n/, $t->read_file('error.log');
is("@bad", '', 'no worker died, nothing was left open');

###############################################################################

sub join_stream {
	my ($n) = @_;
	my $client = player("s$n");
	$late++ if $client->status() ne 'NetStream.Play.Start';
	# the cache begins with the last key frame, and every frame is one
	my $message = $client->read_until(sub { $_[0]{payload} eq frame($n) });
	$late++ if !$message;
	return { client => $client, stream => $n, frame => $streams[$n]{frame} };
}

sub republish {
	my ($n) = @_;
	my $stream = $streams[$n];
	$stream->{publisher}->close();
	wait_for {
		$stream->{publisher} = publisher("s$n");
		$stream->{publisher}->status() eq 'NetStream.Publish.Start';
	};
}

sub send_frames {
	for my $n (0 .. $#streams) {
		for (1 .. 2) {
			my $stream = $streams[$n];
			$stream->{frame}++;
			$stream->{publisher}->send_video($stream->{frame} * 40, frame($n));
		}
	}
}

sub receive_frames {
	for my $player (@players) {
		my $stream = $streams[$player->{stream}];
		while ($player->{frame} < $stream->{frame}) {
			my $message = $player->{client}->read_video();
			if (!$message) {
				$lost++;
				last;
			}
			my (undef, undef, $n, $frame) = unpack 'C N n n', $message->{payload};
			$missed++ if $frame != $player->{frame} + 1;
			$player->{frame} = $frame;
		}
	}
}

# the newest frame of a stream
sub frame { key_frame($_[0] << 16 | $streams[$_[0]]{frame}) }

###############################################################################
