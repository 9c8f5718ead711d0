#!/usr/bin/perl

# HTTP-FLV: the answer begins when it is decided that a client may play, and the FLV with the first
# frames.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher video_header audio_header key_frame inter_frame audio_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(15);

flv_run($t, app => 'cache_time 1s;',
	rtmp => 'application quiet { live on; idle_streams off; }
		application patient { live on; idle_timeout 1s; }');

###############################################################################

# nobody publishes the stream yet

my $http11 = flv_play('later');
is($http11->status(), 200, 'answered before there is a stream');
is($http11->header('Content-Type'), 'video/x-flv', 'its type');
my $http10 = flv_play('later', version => '1.0');
is($http10->status(), 200, 'HTTP/1.0');

my $p = publisher('later');
$p->send_video(0, video_header());
$p->send_audio(0, audio_header());
$p->result($p->command('createStream', undef));
is($_->{body} . $_->{in}, '', 'nothing before the first frame') for $http11, $http10;
$p->send_video(0, key_frame(1));
$p->send_audio(5, audio_frame(1));
for my $player ($http11, $http10) {
	is($player->flags(), 5, 'then the FLV begins');
	is(scalar(grep { $_->{payload} eq key_frame(1) } $player->read_tags(3)), 1, 'with the frame');
}

# where nobody waits for a stream, that comes first

is(http_flv(port(8080), '/quiet/none')->status(), 404, 'idle_streams off');

# who leaves is noticed, and who is not fed is let go

my $unfed = http_flv(port(8080), '/patient/none');
is($unfed->status(), 200, 'waits');
is($unfed->closed(), 'complete', 'until idle_timeout');
is($unfed->body(), '', 'with nothing');

# over HTTP/1.1, what a player gets then is written to its socket directly: in order, and whole

my @sent = map { key_frame($_) } 2 .. 40;
$p->send_video(40 * $_, $sent[$_]) for 0 .. $#sent;
is_deeply([grep { $_ ne audio_frame(1) } map { $_->{payload} } $http11->read_tags(@sent + 1)],
	[@sent], 'in order');

is(http_flv(port(8080), '/live/later')->status(), 200, 'a later one');
