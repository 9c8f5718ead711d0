#!/usr/bin/perl

# A worker that dies takes its own sessions along and nothing else: others play on, and the
# directory holds no ghost.

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

my $STREAMS = 12;

my $t = Test::Nginx->new()->plan(7);

# each stream has a publisher and a player, and there is no room for more
workers_run($t, 4, app => 'max_connections ' . 2 * $STREAMS . ';');

###############################################################################

my @streams = map { { name => "s$_", publisher => publisher("s$_"), frame => 0 } } 1 .. $STREAMS;
send_frame($_) for @streams;
$_->{player} = player($_->{name}) for @streams;
is(scalar(grep { got_frame($_) } @streams), $STREAMS, 'all play');

# the master says so
$t->todo_alerts();
my ($replaced, $thrown_out, $missed, $refused, $silent) = (0) x 5;
for my $victim (worker_pids($t)) {
	my (@dead, @alive);
	for my $stream (@streams) {
		my %lost = map { $_ => worker_of($t, $stream->{$_}) == $victim } qw/ publisher player /;
		push @{$lost{publisher} || $lost{player} ? \@dead : \@alive}, $stream;
		$stream->{lost} = [grep { $lost{$_} } keys %lost];
	}
	kill 'KILL', $victim;
	delete @$_{@{$_->{lost}}} for @streams;

	# nobody there notices
	for my $stream (@alive) {
		send_frame($stream);
		$missed++ if !got_frame($stream);
	}
	$replaced += wait_for {
		my @pids = worker_pids($t);
		@pids == 4 && !grep { $_ == $victim } @pids;
	};

	# the names are free, and so are the places, once the new worker has looked around
	for my $stream (@dead) {
		$stream->{publisher} //= admitted(Publish => sub { publisher($stream->{name}) });
		$stream->{player} //= admitted(Play => sub { player($stream->{name}) });
		send_frame($stream);
		$silent++ if !got_frame($stream);
	}
	$thrown_out += grep { $_->{publisher}{eof} || $_->{player}{eof} } @streams;
}
is($replaced, 4, 'new workers take the places of the dead');
is("$thrown_out thrown out, $missed missed", '0 thrown out, 0 missed', 'others play on');
is($refused, 0, 'what the dead had is free');
is($silent, 0, 'and their players find the streams again');
is(player('more')->status(), 'NetStream.Play.Forbidden', 'everybody else is still counted');

# one that has nobody

$_->{player}->close(), $_->{publisher}->close() for @streams;
my ($idle) = worker_pids($t);
kill 'KILL', $idle;
my @left;
ok(wait_for {
	my %alive = map { $_ => 1 } worker_pids($t);
	@left = grep { m{/(\d+)\.\w+(?:\.w)?$} && !$alive{$1} } inner_sockets($t);
	keys %alive == 4 && !@left;
}, 'the sockets of the dead are removed') or diag("left: @left");

###############################################################################

# Comes again until it is let in.
sub admitted {
	my ($kind, $come) = @_;
	my $client;
	wait_for {
		$client = $come->();
		$client->status() eq "NetStream.$kind.Start";
	} 1 * ($ENV{TEST_NGINX_SLOW} || 1) or $refused++;
	return $client;
}

sub send_frame {
	my ($stream) = @_;
	$stream->{frame}++;
	$stream->{publisher}->send_video($stream->{frame} * 40, key_frame($stream->{frame}));
}

sub got_frame {
	my ($stream) = @_;
	return $stream->{player}->read_until(sub { $_[0]{payload} eq key_frame($stream->{frame}) });
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
