#!/usr/bin/perl

# A cluster of five nodes: whoever publishes where, everybody plays it anywhere,
# and each node pulls each stream once.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx::Cluster;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my ($NODES, $STREAMS, $PLAYERS) = (5, 20, 100);

my $t = Test::Nginx->new()->plan(7);
my $cluster = cluster($t, nodes => $NODES);

my $seed = $ENV{TEST_SEED} // time();
srand($seed);
note("TEST_SEED=$seed");

###############################################################################

my (@streams, @players);

for my $n (1 .. $STREAMS) {
	my $node = 1 + int rand $NODES;
	my $client = $cluster->publisher($node, "stream$n");
	$client->send_video(0, video_header($n));
	$client->send_video(0, key_frame($n));
	push @streams, { name => "stream$n", node => $node, client => $client };
}

is(scalar(grep { $_->{client}->status() eq 'NetStream.Publish.Start' } @streams), $STREAMS,
	'all publish');
is_deeply($cluster->streams(),
	{ map { $_->{name} => [$cluster->address($_->{node}) . ':1935'] } @streams },
	'the scheduling server knows where');

for my $n (1 .. $PLAYERS) {
	my $stream = $streams[rand @streams];
	my $node = 1 + int rand $NODES;
	push @players, { stream => $stream, node => $node,
		client => $cluster->player($node, $stream->{name}) };
}

my $played = grep {
	my $number = $_->{stream}{name} =~ s/stream//r;
	$_->{client}->read_until(sub { $_[0]{payload} eq key_frame($number) });
} @players;
is($played, $PLAYERS, 'all play, each its own stream');

$_->{client}->send_video(40, inter_frame($_->{name} =~ s/stream//r)) for @streams;
$played = grep {
	my $number = $_->{stream}{name} =~ s/stream//r;
	$_->{client}->read_until(sub { $_[0]{payload} eq inter_frame($number) });
} @players;
is($played, $PLAYERS, 'and go on');

# each (node, stream) that somebody watches away from the publisher
my %pulls = map { ("$_->{node} $_->{stream}{name}" => $_->{node}) }
	grep { $_->{node} != $_->{stream}{node} } @players;
my @expected = (0) x ($NODES + 1);
$expected[$_]++ for values %pulls;

is_deeply([map { $cluster->pulls($_) } 1 .. $NODES], [@expected[1 .. $NODES]],
	'each node pulls each stream once');
is($cluster->redirects(), scalar keys %pulls, 'and has asked once for it');

$_->{client}->close() for @players;
ok(wait_for { !grep { $cluster->pulls($_) } 1 .. $NODES }, 'with the last player a pull ends');

###############################################################################
