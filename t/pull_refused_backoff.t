#!/usr/bin/perl

# A flood of players with wrong queries costs the origin a bounded number of connections, and
# those with a right one are served all the same.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay;
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $BAD = 60;
# attempts that may follow each other at once, and how many a second then
my ($BURST, $RATE) = (20, 20);

my $t = Test::Nginx->new()->plan(6);

relay_run($t, near => 'pull rtmp://127.0.0.1:%%PORT_8081%%;');

my $server = rtmp_server(port(8081));

###############################################################################

# each with a token of its own, and for each that is refused another one comes

my @bad = map { bad() } 1 .. $BAD;
my ($good, $attempts, $took, $before, $began, @kept) = (undef, 0, 0, 0);
while ($attempts < 4 * $BAD) {
	my $peer = rtmp_accept($server, until => 'play') or last;
	$began //= time();
	if ($peer->{name} =~ /good/) {
		$peer->send_command($peer->{stream}, 'onStatus', 0, undef,
			{ level => 'status', code => 'NetStream.Play.Start' });
		$peer->send_video(0, $_) for video_header(), key_frame(1);
		push @kept, $peer;
		last;
	}
	$attempts++;
	$peer->send_command($peer->{stream}, 'onStatus', 0, undef,
		{ level => 'error', code => 'NetStream.Play.Forbidden' });
	push @bad, bad();
	next if $attempts != 2 * $BURST;
	$took = time() - $began;
	$good = near();
	$good->play('s?t=good');
	# it is not the last one that has come
	push @bad, map { bad() } 1 .. 5;
}
cmp_ok($took, '>=', 0.9 * ($BURST - 1) / $RATE, 'attempts are so many a second');
is(scalar @kept, 1, 'the good one has its turn');
cmp_ok($attempts - 2 * $BURST, '<=', 1.5 * ($BAD + 5), 'at the latest when those before it had theirs');
ok($good && $good->read_video(), 'and plays');
$_->close() for @bad, $good // (), @kept;

# those who say the same are one to the origin, also when they come again

drain();
$attempts = 0;
my @same = map { same() } 1 .. 20;
$began = time();
while (time() - $began < 3) {
	my $peer = rtmp_accept($server, until => 'play', timeout => 0.2) or next;
	last if !$peer->{name};
	$attempts++;
	$peer->send_command($peer->{stream}, 'onStatus', 0, undef,
		{ level => 'error', code => 'NetStream.Play.Forbidden' });
	$_->read_status() for splice @same, 0;
	@same = map { same() } 1 .. 20;
}
$took = time() - $began;
cmp_ok($attempts, '>=', 2, 'asked again');
cmp_ok($attempts, '<=', $took + 1, 'once a second at most');

###############################################################################

sub bad {
	our $n++;
	my $p = near();
	# nobody waits for the answer
	$p->command('createStream', undef);
	$p->send_command(1, 'play', 3, undef, "s?t=bad$n", -2000);
	return $p;
}

sub same {
	my $p = near();
	$p->play('same?t=bad');
	return $p;
}

# What was accepted by the kernel meanwhile.
sub drain {
	$server->timeout(0.3);
	while (my $socket = $server->accept()) {
		$socket->close();
	}
}

###############################################################################
