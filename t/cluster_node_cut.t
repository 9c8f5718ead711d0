#!/usr/bin/perl

# A node is cut off the network: its streams' leases end, and players elsewhere get
# another source, or are told that there is none.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx::Cluster;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;

my $t = Test::Nginx->new()->plan(11);
# a silent origin is found out after two seconds at most
my $cluster = cluster($t, nodes => 3, lease => '3s', update => '1s', ping => '1s');

###############################################################################

# the stream "lost" is on node 1 alone; "moved" will be on node 2
my @lost = publish(1, 'lost', 1);
my @moved = publish(1, 'moved', 1);
my $lost = $cluster->player(3, 'lost');
my $moved = $cluster->player(3, 'moved');
ok(sees($lost, 1), 'a stream plays');
ok(sees($moved, 1), 'another one plays');

$cluster->cut(1);

# nobody has told the scheduling server
is_deeply([sort keys %{$cluster->streams()}], ['lost', 'moved'], 'known at first');

# they answer pings, so that they count as alive
my $publisher = publish(2, 'moved', 2);
ok((wait_for { attend(); !$cluster->streams()->{lost} } 5 * $SLOW), 'a lease ends');
# each stream has its own
my $there = $cluster->address(2) . ':1935';
wait_for { attend(); "@{$cluster->streams()->{moved} // []}" eq $there } 5 * $SLOW;
is_deeply($cluster->streams(), { moved => [$there] },
	'the other one is where its publisher is now');
ok($cluster->counter('oclp_scheduler_leases_expired_total', qr//), 'counted');

ok(sees($moved, 2, 10 * $SLOW), 'its player goes on there');
is($lost->read_status(10 * $SLOW), 'NetStream.Play.StreamNotFound', 'the player of the lost one is told');
is(fresh_status('lost'), 'NetStream.Play.StreamNotFound', 'so is a new player');

# back on the network, it is a node like the others again
$cluster->mend(1);
my $again = publish(1, 'again', 3);
my $player = $cluster->player(3, 'again');
ok(sees($player, 3, 10 * $SLOW), 'the node is back');
is_deeply($cluster->streams()->{again}, [$cluster->address(1) . ':1935'], 'and known');

###############################################################################

sub publish {
	my ($node, $name, $number) = @_;
	my $client = $cluster->publisher($node, $name);
	$client->send_video(0, video_header($number));
	$client->send_video(0, key_frame($number));
	return $client;
}

sub sees {
	my ($player, $number, $timeout) = @_;
	return $player->read_until(sub { $_[0]{payload} eq key_frame($number) }, $timeout);
}

sub attend { $_->attend() for $publisher, $lost, $moved }

# The last status that a new player gets.
sub fresh_status {
	my ($name) = @_;
	my $player = $cluster->player(3, $name);
	return $player->status() eq 'NetStream.Play.Start'
		? $player->read_status(10 * $SLOW) : $player->status();
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
