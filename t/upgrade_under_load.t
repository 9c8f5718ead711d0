#!/usr/bin/perl

# Two nodes of four workers with their scheduler, twenty publishers and a hundred players: a new binary takes over on one
# node and both are reloaded. Nobody is dropped and no frame is lost, every stream is played from both nodes at every
# moment and its name is taken, and the scheduler has heard the end of all that it has heard begin.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use Test::Nginx::Cluster;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Upgrade;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant {
	WORKERS => 4,
	STREAMS => 20,
	PLAYERS => 100,
	# every fifth of them by HTTP
	HTTP => 5,
	# a frame of each stream in so many seconds
	INTERVAL => 0.1,
	# the frame after which no other comes
	LAST => 1 << 24,
	# seconds without any frame after which a player has lost its stream
	LOST => 120,
};

my $t = Test::Nginx->new()->plan(21);
my $cluster = cluster($t, nodes => 2, workers => WORKERS, daemon => 1);
my $nginx = $cluster->node(1)->{nginx};

###############################################################################

my @publishers = map { $cluster->publisher(home($_), "s$_") } 1 .. STREAMS;
is(scalar(grep { $_->status() eq 'NetStream.Publish.Start' } @publishers), STREAMS, 'all publish');
my $sender = publish(@publishers);

my @players = map { join_stream($_) } 1 .. PLAYERS;
my @watchers = map { my $n = $_; watch(grep { $_->{number} % 2 == $n } @players) } 0, 1;
my $prober = probe();
probed(1, 'before');

my ($old, $new) = $nginx->upgrade();
probed(1, 'both binaries run');
kill 'WINCH', $old;
ok((wait_for { !serving($old) }), 'the old workers leave');
probed(2, 'the old workers only end what they have');
$cluster->reload_node(2);
kill 'QUIT', $old;
probed(2, 'the old master ends, and the other node is reloaded');
my %before = map { $_ => 1 } workers_under($new);
$cluster->reload_node(1);
ok((wait_for { WORKERS == grep { !$before{$_} } serving($new) }), 'the new binary is reloaded');
probed(2, 'and after that');

kill 'TERM', $prober->pid();
is($prober->wait(), 0, 'the last ones are answered');
my @probes = split /\n/, $prober->output();
my @bad = grep { !/^probe \S+ \S+ \S+ NetStream.Play.Start media$/ && !/^second \S+ NetStream.Publish.BadName$/ } @probes;
is_deeply(\@bad, [], 'at any moment every stream was played from both nodes, and nobody else published it');

kill 'TERM', $sender->pid();
is($sender->wait(), 0, 'the publishers end when they are told to');
is($sender->output(), '', 'none of them was dropped');
my %result = map {
	is($_->wait(), 0, 'players end with the last frame');
	split /\s/, $_->output();
} @watchers;
is($result{lost}, undef, 'no player was dropped');
is($result{"missed$_"}, 0, "and none missed a frame ($_)") for 0, 1;
my ($slowest) = sort { $b <=> $a } map { /^probe \S+ \S+ (\S+)/ } @probes;
note(sprintf '%d plays, the slowest %.0f ms; longest gap %.0f ms', scalar(@probes), 1000 * $slowest,
	1000 * (sort { $b <=> $a } @result{qw/ gap0 gap1 /})[0]);

$_->{client}->close() for @players;
$_->close() for @publishers;
ok(ended($old), 'the old binary ends with its last session');
is_deeply(open_at_the_end(), {}, 'every start has had its done');
ok(!%{$cluster->streams()}, 'and no stream is on record');

my @died = grep { /exited on signal|panic|open socket/ } split /\n/, $t->read_file('error.log');
is("@died", '', 'no worker died, nothing was left open');

###############################################################################

# Where a stream is published.
sub home { 1 + $_[0] % 2 }

# One of its players, of the one node or the other.
sub join_stream {
	my ($number) = @_;
	my $stream = 1 + $number % STREAMS;
	my $node = 1 + int($number / STREAMS) % 2;
	my $client = $number % HTTP ? $cluster->player($node, "s$stream") : $cluster->flv_player($node, "s$stream");
	$client->answered() if $client->can('answered');
	return { number => $number, client => $client };
}

# Sends frame after frame of each stream until it is told to end; what it prints is wrong.
sub publish {
	my (@publishers) = @_;
	return spawn_sub($t, sub {
		my $over = 0;
		local $SIG{TERM} = sub { $over = 1 };
		$_->send_video(0, video_header()) for @publishers;
		for (my ($n, $at) = (1, 0); ; $n++) {
			$n = LAST if $over;
			$at += 1000 * INTERVAL;
			for my $publisher (@publishers) {
				# pings are answered
				while ($publisher->read_message(0)) { }
				$publisher->send_video($at, key_frame($n)) or print "dropped: $publisher->{eof}\n";
			}
			last if $n == LAST;
			sleep(INTERVAL);
		}
	});
}

# Reads what players get up to the last frame, and prints what they have missed and the longest time between two frames.
sub watch {
	my (@players) = @_;
	return spawn_sub($t, sub {
		my ($missed, $gap) = (0, 0);
		my %by = map { ($_->{client}{socket}, $_) } @players;
		my $select = IO::Select->new(map { $_->{client}{socket} } @players);
		while ($select->count()) {
			my @ready = $select->can_read(LOST) or last;
			for my $player (@by{@ready}) {
				while (defined(my $n = next_frame($player->{client}))) {
					my $now = time();
					$missed++ if defined $player->{n} && $n != $player->{n} + 1 && $n != LAST;
					$gap = $now - $player->{at} if defined $player->{at} && $now - $player->{at} > $gap;
					@$player{qw/ n at /} = ($n, $now);
				}
				$select->remove($player->{client}{socket}) if ($player->{n} // 0) == LAST || $player->{client}{eof};
			}
		}
		my $half = $players[0]{number} % 2;
		print "missed$half $missed\ngap$half $gap\n";
		print "lost $_->{number}\n" for grep { ($_->{n} // 0) != LAST } @players;
	});
}

# The number of the next frame that is in.
sub next_frame {
	my ($client) = @_;
	while (my $message = $client->can('read_tag') ? $client->read_tag(0) : $client->read_message(0)) {
		return unpack 'x5 N', $message->{payload} if $message->{type} == RTMP_VIDEO && length($message->{payload}) > 100;
	}
	return;
}

# Plays each stream from each node, and tries to publish it, again and again, until it is told to end.
sub probe {
	return spawn_sub($t, sub {
		my $over = 0;
		local $SIG{TERM} = sub { $over = 1 };
		while (!$over) {
			for my $stream (map { "s$_" } 1 .. STREAMS) {
				for my $node (1, 2) {
					my $began = time();
					my $player = $cluster->player($node, $stream);
					my $media = $player->read_until(sub { $_[0]{payload} =~ /k{200}/ });
					printf "probe %s %d %.3f %s %s\n", $stream, $node, time() - $began, $player->status() || 'nothing',
						$media ? 'media' : 'none';
					$player->close();
				}
				my $second = $cluster->publisher(home(substr $stream, 1), $stream);
				printf "second %s %s\n", $stream, $second->status() || 'nothing';
				$second->close();
			}
		}
	});
}

# Waits until each stream has been played from each node so many times more.
sub probed {
	my ($times, $name) = @_;
	my $before = () = $prober->output() =~ /^probe/mg;
	ok((wait_for {
		my $now = () = $prober->output() =~ /^probe/mg;
		$now >= $before + $times * 2 * STREAMS || $prober->ended();
	} 600) && !$prober->ended(), "played: $name");
}

# Those of a master's workers that do not only end what they have.
sub serving {
	my ($master) = @_;
	return grep {
		open my $file, '<', "/proc/$_/cmdline";
		$file && (<$file> // '') !~ /shutting down/;
	} workers_under($master);
}

# What has begun and has not ended at the scheduler, once that is nothing, or does not become so: the difference by call.
sub open_at_the_end {
	my %open;
	wait_for {
		%open = ();
		for my $call (qw/ publish play stream pull /) {
			# what was refused, or is no relay, has no end
			my ($start, $done) = map {
				$cluster->counter('oclp_scheduler_requests_total', qr/^(?=.*call="$call")(?=.*act="$_->[0]")(?=.*code="$_->[1]")/);
			} [start => $call eq 'pull' ? 302 : 200], [done => 200];
			$open{$call} = "$start starts, $done dones" if $start != $done || !$start;
		}
		!%open;
	};
	return \%open;
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $nginx, $cluster, $t;

###############################################################################
