#!/usr/bin/perl

# Three tiers: an ingest node pushes to a hub that the scheduling server names, edge
# nodes pull from that hub; when it dies, the other hub takes over and players go on.

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
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my $INGEST = 1;
my @HUBS = (2, 3);
my @EDGES = (4, 5);

my $t = Test::Nginx->new()->plan(12);
my $cluster = cluster($t, nodes => 5, lease => '3s', update => '1s',
	conf => [qw/ ingest.conf core.conf core.conf edge.conf edge.conf /],
	policy_file => 'scheduler-tiers.toml',
	instead => {
		'10.0.2.1:' => '10.77.0.11:', '10.0.1.1:' => '10.77.0.12:', '10.0.1.2:' => '10.77.0.13:',
		# each hub as likely as the other one
		'weight = 2' => 'weight = 1',
	});

###############################################################################

my $publisher = $cluster->publisher($INGEST, 's');
is($publisher->status(), 'NetStream.Publish.Start', 'published');
$publisher->send_video(0, video_header());
$publisher->send_video(0, key_frame(1));

ok((wait_for { @{$cluster->streams()->{s} // []} == 2 } 5 * $SLOW), 'pushed to a hub');
my ($address) = $cluster->relays($INGEST);
my ($hub) = grep { $cluster->address($_) eq $address } @HUBS;
ok($hub, 'by the ingest node');

my @players = map { $cluster->player($_, 's') } @EDGES, @EDGES;
is(seen(1), 4, 'players on the edges play');
is_deeply([map { $cluster->relays($_) } @EDGES], [$address, $address], 'each edge pulls it once, from the hub');

my $client = $cluster->publisher($EDGES[0], 'other');
isnt($client->status(), 'NetStream.Publish.Start', 'edges take no publishers');

# the hub dies

$cluster->kill_node($hub);
my ($other) = map { $cluster->address($_) } grep { $_ != $hub } @HUBS;
my $number = 2;
ok((wait_for {
	$publisher->send_video(40 * $number, key_frame($number));
	$number++;
	join(' ', $cluster->relays($INGEST)) eq $other
} 15 * $SLOW), 'the ingest node pushes to the other hub');
ok((wait_for { join(' ', map { $cluster->relays($_) } @EDGES) eq "$other $other" } 10 * $SLOW),
	'edges pull from it');
$publisher->send_video(40 * $number, key_frame($number));
is(seen($number), 4, 'the same players go on');
is(scalar(grep { $_->{eof} } @players, $publisher), 0, 'nobody was sent away');

# the publisher leaves

$publisher->close();
is(scalar(grep { ($_->read_status(10 * $SLOW)) eq 'NetStream.Play.StreamNotFound' } @players), 4,
	'when the publisher has left, players are told');
ok((wait_for { !%{$cluster->streams()} } 10 * $SLOW), 'and the stream is forgotten');

###############################################################################

sub seen {
	my ($number) = @_;
	return scalar grep {
		$_->read_until(sub { $_[0]{payload} eq key_frame($number) }, 8 * $SLOW)
	} @players;
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
