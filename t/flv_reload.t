#!/usr/bin/perl

# HTTP-FLV: players live on in their worker over a reload, and none is left behind at the end.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header audio_header key_frame inter_frame
	audio_frame /;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(6);

flv_run($t, workers => 2, app => 'cache_time 1s;', shutdown => 3 * ($ENV{TEST_NGINX_SLOW} || 1) . 's');

###############################################################################

my $p = publisher('s');
published($p);
my $old = flv_play('s');
my $ws = websocket(port(8080), '/live/s');
my %old = map { $_ => 1 } worker_pids($t);

$t->reload();
wait_for { 2 <= grep { !$old{$_} } worker_pids($t) };
$p->send_video(5000, key_frame(50));
is(until_payload($old, key_frame(50)), 1, 'player of the old worker');

my $new = flv_play('s');
$p->send_video(6000, key_frame(60));
is(until_payload($_->[0], key_frame(60)), 1, "$_->[1] player")
	for [$new, 'new'], [$old, 'old'];

$_->close() for $old, $ws, $p;
ok(wait_for { !grep { $old{$_} } worker_pids($t) }, 'the old workers leave with the last');

# at shutdown players are closed after worker_shutdown_timeout, without an alert

my $q = publisher('end');
published($q);
my @players = (flv_play('end'), http_flv(port(8080), '/live/nobody', wait => 0));
my $socket = websocket(port(8080), '/live/end');
http_get('/live/');
$t->reload();
wait_for { my @pids = worker_pids($t); @pids > 2 };
$q->close();
$t->stop();
ok($players[0]->closed(), 'player closed');
unlike($t->read_file('error.log'), qr/open socket|\[alert\]/, 'nothing left');

###############################################################################

sub until_payload {
	my ($player, $payload) = @_;
	while (my $tag = $player->read_tag()) {
		return 1 if $tag->{payload} eq $payload;
	}
	return 0;
}
