#!/usr/bin/perl

# The only scheduling server dies: running streams never notice, and the next one
# learns within one interval of updates which stream is where.

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
my ($NODES, $STREAMS, $UPDATE) = (3, 9, 1);

my $t = Test::Nginx->new()->plan(12);
my $cluster = cluster($t, nodes => $NODES, update => "${UPDATE}s", lease => '3s', learn => '1500ms');

###############################################################################

my %publishers = map { $_ => publish(1 + $_ % $NODES, "s$_", $_) } 1 .. $STREAMS;
my $where = { map { ("s$_" => [$cluster->address(1 + $_ % $NODES) . ':1935']) } keys %publishers };
is_deeply($cluster->streams(), $where, 'the scheduling server knows all streams');

# each is watched away from its node
my %players = map { $_ => $cluster->player(1 + ($_ + 1) % $NODES, "s$_") } keys %publishers;
is(scalar(grep { sees($players{$_}, key_frame($_)) } keys %players), $STREAMS, 'all play');

$cluster->stop_scheduler('KILL');

$publishers{$_}->send_video(40, inter_frame($_)) for keys %publishers;
is(scalar(grep { sees($players{$_}, inter_frame($_)) } keys %players), $STREAMS,
	'dead: all play on');

# a publisher and a player come while nobody answers
my $new = $cluster->player(1, 's4');
is($new->status(), 'NetStream.Play.Start', 'dead: a player is let in');
my $alone = publish(1, 'alone', 100);
is($alone->status(), 'NetStream.Publish.Start', 'dead: a publisher is let in');

# an update or two get lost
my $dead = time();
wait_for { time() - $dead > 2 * $UPDATE } 5 * $SLOW;

$cluster->start_scheduler();
my $began = time();
my $known = wait_for { keys %{$cluster->streams()} >= $STREAMS } 10 * $SLOW;
cmp_ok(time() - $began, '<', ($UPDATE + 0.5) * $SLOW, 'it learns within an interval of updates');
is_deeply({ map { $_ => $cluster->streams()->{$_} } keys %$where }, $where, 'all that there was');
cmp_ok($cluster->counter('oclp_scheduler_streams_relearned_total', qr//), '>=', $STREAMS,
	'by updates');

ok(sees($new, key_frame(4), 5 * $SLOW), 'who has waited plays');
my $late = $cluster->player(2, 's3');
ok(sees($late, key_frame(3), 5 * $SLOW), 'so does who comes now');

$publishers{$_}->send_video(80, inter_frame(10 + $_)) for keys %publishers;
is(scalar(grep { sees($players{$_}, inter_frame(10 + $_)) } keys %players), $STREAMS,
	'running streams have not noticed');
is(scalar(grep { $_->{eof} } values %players, values %publishers), 0, 'nobody was sent away');

###############################################################################

sub publish {
	my ($node, $name, $number) = @_;
	my $client = $cluster->publisher($node, $name);
	$client->send_video(0, video_header($number));
	$client->send_video(0, key_frame($number));
	return $client;
}

sub sees {
	my ($player, $payload, $timeout) = @_;
	return $player->read_until(sub { $_[0]{payload} eq $payload }, $timeout);
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
