#!/usr/bin/perl

# Two scheduling servers on one Redis, behind the proxy: either may die, and nobody
# notices.

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

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my @PORTS = (6201, 6202);

my $t = Test::Nginx->new()->has_daemon('redis-server')->plan(21);
my $cluster = cluster($t, schedulers => 0, nodes => 0,
	policy => qq{\n[access]\nproxies = ["10.77.0.1/32"]\n});
my $store = $cluster->start_redis();
$cluster->start_scheduler(port => $_, store => $store) for @PORTS;
$cluster->start_proxy(@PORTS);
$cluster->add_nodes(3);

###############################################################################

my %publishers;
my @players;
publish($_) for 1 .. 3;
is_deeply($cluster->streams($PORTS[0]), $cluster->streams($PORTS[1]), 'both know the same');
is_deeply([sort keys %{$cluster->streams($PORTS[0])}], ['s1', 's2', 's3'], 'which is all');
watch($_) for 1 .. 3;
is(seen(0), 3, 'all play');

my $next = 4;
for my $round (1 .. 2) {
	my ($dies, $lives) = $round == 1 ? @PORTS : reverse @PORTS;
	$cluster->stop_scheduler('KILL', $dies);

	is(seen($round), scalar @players, "$dies dead: all play on");
	my $new = $next++;
	is(publish($new)->status(), 'NetStream.Publish.Start', 'one more publishes');
	ok((wait_for { $cluster->streams($lives)->{"s$new"} } 5 * $SLOW), 'and is known');
	watch($new);
	watch($new - 2);
	is(seen($round + 2), scalar @players, 'who comes now plays');

	$cluster->start_scheduler(port => $dies, store => $store);
	is_deeply($cluster->streams($dies), $cluster->streams($lives), 'back: both know the same');
	is(scalar keys %{$cluster->streams($dies)}, $new, 'which is all');
}

is(seen(9), scalar @players, 'all have played on');
is(scalar(grep { $_->{client}{eof} } @players), 0, 'nobody was sent away');
is($cluster->counter('oclp_scheduler_requests_total', qr/code="404"/, $_), 0, 'no wrong answer')
	for @PORTS;
is($cluster->counter('oclp_scheduler_store_up', qr//, $PORTS[0]), 1, 'the store is there');
unlike($t->read_file('error.log'), qr/StreamNotFound/, 'no stream was missed');

###############################################################################

# A stream of this number, published on one node and watched on another.
sub publish {
	my ($number) = @_;
	my $client = $publishers{$number} = $cluster->publisher(1 + $number % 3, "s$number");
	$client->send_video(0, video_header($number));
	$client->send_video(0, key_frame($number));
	return $client;
}

sub watch {
	my ($number) = @_;
	push @players, { number => $number, client => $cluster->player(1 + ($number + 1) % 3, "s$number") };
}

# Sends one more picture of each stream; how many players see it.
sub seen {
	my ($round) = @_;
	# new players wait for a key frame, which they get from the cache
	$publishers{$_}->send_video(40 * $round, inter_frame(100 * $round + $_)) for keys %publishers;
	return scalar grep {
		my $payload = inter_frame(100 * $round + $_->{number});
		$_->{client}->read_until(sub { $_[0]{payload} eq $payload }, 5 * $SLOW);
	} @players;
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
