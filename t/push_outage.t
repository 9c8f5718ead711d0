#!/usr/bin/perl

# A target of a hundred pushes is down for a while: each is tried with the documented
# delays, at no growing cost, and begins with headers and a key frame when it is back.
# With TEST_NGINX_LONG it is down for a minute.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header audio_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;
use Time::HiRes qw/ time sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my $PUSHES = 100;
# seconds; the last delays are three
my $DOWN = $ENV{TEST_NGINX_LONG} ? 60 : 12;
# what an attempt may take beside the delay before it, in ms
my $ATTEMPT = 100 * $SLOW;
my @DELAYS = (50, 100, 200, 400, 800, 1600, 3000);
my $JITTER = 0.2;

my $t = Test::Nginx->new()->plan(12);

relay_run($t, near => 'push rtmp://127.0.0.1:%%PORT_8081%%; push_reconnect 3s;');

###############################################################################

my $server = rtmp_server(port(8081));
my @publishers = map { my $p = near(); $p->publish("s$_"); $p } 1 .. $PUSHES;
my @peers = map { rtmp_accept($server) } 1 .. $PUSHES;
is(scalar(grep { ($_->{name} // '') =~ /^s/ } @peers), $PUSHES, 'all are pushed');

my ($frame, $began) = (0, time());
for my $p (@publishers) {
	$p->send_video(0, video_header());
	$p->send_audio(0, audio_header());
}
# a push that worked for less than a second counts as one that failed
send_frames() while time() - $began < 1.5;
my ($worker) = worker_pids($t);
my $established = fd_count($worker);

# down

$server->close();
$_->close() for @peers;
my $down = time();
my (@rss, @fds);
while (time() - $down < $DOWN) {
	send_frames();
	push @rss, rss_kb($worker);
	push @fds, fd_count($worker);
}
$down = time() - $down;

my %delays;
for (log_lines($t, qr/push of .*again in \d+ms/)) {
	my ($name, $ms) = /"live\/(\w+)".*again in (\d+)ms/;
	push @{$delays{$name}}, $ms;
}
is(scalar keys %delays, $PUSHES, 'all are tried again');
is(scalar(grep { $_->[0] == 0 } values %delays), $PUSHES, 'at once when they break');
my (@wrong, %seen);
for my $name (keys %delays) {
	my (undef, @after) = @{$delays{$name}};
	for my $i (0 .. $#after) {
		my $expected = $DELAYS[$i] // $DELAYS[-1];
		push @wrong, "$name: $after[$i] for $expected"
			if abs($after[$i] - $expected) > $expected * $JITTER + 1;
		$seen{$expected}{$after[$i]} = 1;
	}
}
is("@wrong", '', 'then with delays that double up to the longest, give or take a fifth');
my @same = grep { keys %{$seen{$_}} < 10 } @DELAYS;
is("@same", '', 'each by chance') or diag("few different ones for @same");

my ($fewest, $most) = map { attempts($_) } 1 + $JITTER, 1 - $JITTER;
my ($least, $last) = (sort { $a <=> $b } map { scalar @$_ } values %delays)[0, -1];
cmp_ok($least, '>=', $fewest, 'none waits longer than it says');
cmp_ok($last, '<=', $most, 'nor shorter');

my $half = @rss / 2;
my ($low, $high) = (sort { $a <=> $b } @rss[$half .. $#rss])[0, -1];
cmp_ok($high - $rss[$half], '<', 512, 'memory is constant');
my ($open) = sort { $b <=> $a } @fds;
cmp_ok($open, '<=', $established, 'so are descriptors');
note(sprintf '%d attempts each in %.1f s (%d to %d are right), %d to %d KiB, at most %d descriptors',
	$last, $down, $fewest, $most, $low, $high, $open);

# up again

$server = rtmp_server(port(8081));
@peers = grep { $_ && $_->{name} } map { rtmp_accept($server) } 1 .. $PUSHES;
is(scalar @peers, $PUSHES, 'all come back');
send_frames() for 1 .. 4;
my %begin;
for my $peer (@peers) {
	my @first = map { substr(($peer->read_media() // {})->{payload} // '', 0, 2) } 1 .. 3;
	$begin{join ' ', map { unpack 'H*', $_ } @first}++;
}
is_deeply(\%begin, { '1700 af00 1701' => $PUSHES }, 'with headers and a key frame');

@publishers = ();
@peers = ();
ok(wait_for { fd_count($worker) < $established - 2 * $PUSHES + 10 }, 'nothing is left');

###############################################################################

# A frame of each publisher, a key frame now and then, and the time that takes.
sub send_frames {
	my $ms = (time() - $began) * 1000;
	# large enough for the streams' memory to go round and round
	my $payload = ($frame % 4 ? inter_frame($frame) : key_frame($frame)) . 'x' x 8000;
	$_->send_video($ms, $payload) for @publishers;
	$frame++;
	sleep(0.25);
}

# How many attempts there are while it is down, if all delays are off by this factor
# and, when they are long, each attempt takes its time.
sub attempts {
	my ($factor) = @_;
	my ($at, $n) = (0, 2);
	while (1) {
		$at += ($DELAYS[$n - 2] // $DELAYS[-1]) * $factor + ($factor > 1 ? $ATTEMPT : 0);
		return $n if $at > $down * 1000;
		$n++;
	}
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
