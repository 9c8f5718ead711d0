#!/usr/bin/perl

# Redis dies and comes back with nothing in it: no wrong answer is given, running
# streams do not notice, and all is known again within an interval of updates.

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
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my ($STREAMS, $UPDATE) = (6, 1);

my $t = Test::Nginx->new()->has_daemon('redis-server')->plan(11);
my $cluster = cluster($t, schedulers => 0, nodes => 0, update => "${UPDATE}s");
$cluster->start_scheduler(store => $cluster->start_redis());
$cluster->add_nodes(3);

###############################################################################

my %publishers = map { $_ => publish($_) } 1 .. $STREAMS;
my %players = map { $_ => watch($_) } 1 .. $STREAMS - 1;
is(seen(key_frame => 0), $STREAMS - 1, 'all play');
my $where = $cluster->streams();
is(scalar keys %$where, $STREAMS, 'all are known');

$cluster->stop_redis();

send_all(1);
is(seen(inter_frame => 1), $STREAMS - 1, 'dead: all play on');
$publishers{100} = publish(100);
is($publishers{100}->status(), 'NetStream.Publish.Start', 'dead: a publisher is let in');
# of streams that somebody publishes, one old and one new
my %waiting = map { $_ => watch($_) } $STREAMS, 100;
is(join(' ', map { $_->status() } values %waiting), 'NetStream.Play.Start NetStream.Play.Start',
	'dead: players are let in');

$cluster->start_redis();
my $began = time();
ok((wait_for { keys %{$cluster->streams()} > $STREAMS } 15 * $SLOW), 'all are known again');
# the connection is made again within a second
cmp_ok(time() - $began, '<', (1 + $UPDATE + 0.5) * $SLOW, 'within an interval of updates');

@players{keys %waiting} = values %waiting;
is(scalar(grep { sees($waiting{$_}, key_frame($_)) } keys %waiting), 2, 'who has waited plays');
send_all(2);
is(seen(inter_frame => 2), $STREAMS + 1, 'all have played on');
is($cluster->counter('oclp_scheduler_requests_total', qr/call="(?:pull|publish)".*code="40/), 0,
	'no wrong answer');
is(scalar(grep { $_->{eof} } values %players, values %publishers), 0, 'nobody was sent away');

###############################################################################

# A stream of this number, published on one node and watched on another.
sub publish {
	my ($number) = @_;
	my $client = $cluster->publisher(1 + $number % 3, "s$number");
	$client->send_video(0, video_header($number));
	$client->send_video(0, key_frame($number));
	return $client;
}

sub watch {
	my ($number) = @_;
	return $cluster->player(1 + ($number + 1) % 3, "s$number");
}

sub send_all {
	my ($round) = @_;
	$publishers{$_}->send_video(40 * $round, inter_frame(1000 * $round + $_)) for keys %publishers;
}

# How many players see the picture of this round.
sub seen {
	my ($kind, $round) = @_;
	return scalar grep {
		sees($players{$_}, $kind eq 'key_frame' ? key_frame($_) : inter_frame(1000 * $round + $_))
	} keys %players;
}

sub sees {
	my ($player, $payload) = @_;
	return $player->read_until(sub { $_[0]{payload} eq $payload }, 8 * $SLOW);
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
