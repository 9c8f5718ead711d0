#!/usr/bin/perl

# A node is reloaded: its publishers stay in its old worker, on record, and players
# everywhere go on; new ones find the stream, on that node too.

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

my $t = Test::Nginx->new()->plan(9);
my $cluster = cluster($t, nodes => 3, update => '1s', learn => '1500ms', lease => '3s');

###############################################################################

my $publisher = $cluster->publisher(1, 's');
$publisher->send_video(0, video_header());
$publisher->send_video(0, key_frame(1));
my @players = map { $cluster->player($_, 's') } 1, 2;
is(seen(1), 2, 'players on this node and on another one');

my $started = $cluster->counter('oclp_scheduler_requests_total', qr/call="init_process"/);
$cluster->reload_node(1);
ok((wait_for {
	$cluster->counter('oclp_scheduler_requests_total', qr/call="init_process"/) > $started
} 10 * $SLOW), 'a new worker has started');

$publisher->send_video(40, key_frame(2));
is(seen(2), 2, 'they go on');

# what the old worker had would be forgotten after this time, without its updates
my $reloaded = time();
wait_for { time() - $reloaded > 2.5 } 5 * $SLOW;
is_deeply($cluster->streams(), { s => [$cluster->address(1) . ':1935'] }, 'the stream is still on record');

push @players, $cluster->player(3, 's');
ok(sees($players[2], 2), 'a new player on a third node');
push @players, $cluster->player(1, 's');
ok(sees($players[3], 2), 'and one on the new worker');

$publisher->send_video(3000, key_frame(3));
is(seen(3), 4, 'all go on');
is($cluster->redirects(), 2, 'the other nodes have asked once each');
is(scalar(grep { $_->{eof} } @players, $publisher), 0, 'nobody was sent away');

# the old worker has nobody to wait for
$_->close() for @players, $publisher;

###############################################################################

sub sees {
	my ($player, $number) = @_;
	return $player->read_until(sub { $_[0]{payload} eq key_frame($number) }, 5 * $SLOW);
}

sub seen {
	my ($number) = @_;
	return scalar grep { sees($_, $number) } @players;
}

# the subs hold it, and it must end before the tests are counted
undef $_ for $cluster, $t;

###############################################################################
