#!/usr/bin/perl

# rtmp_limit_conn: how many clients of one address there may be at a time, whatever they speak, over
# all workers.

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
use Test::Nginx::Conf;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip/)->plan(29);

flv_run($t, workers => 2, app => 'rtmp_limit_conn play 2;',
	rtmp => 'application one { live on; rtmp_limit_conn 1; }
		application source { live on; rtmp_limit_conn publish 1; rtmp_limit_conn play 2; }
		application many { live on; }',
	location => 'set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;');

###############################################################################

# three protocols, one limit

my $rtmp = rtmp_connect(port(1935), 'live');
$rtmp->play('s');
is($rtmp->status(), 'NetStream.Play.Start', 'RTMP');
my $http = play('/live/t');
is($http->status(), 200, 'HTTP-FLV');
is(play("/live/s")->status(), 429, "HTTP-FLV, the third one, try $_") for 1 .. 4;
is(websocket(port(8080), '/live/s')->{status}, 429, 'WebSocket, the third one');
my $other = rtmp_connect(port(1935), 'live');
$other->play('s');
is($other->status(), 'NetStream.Play.Forbidden', 'RTMP, the third one');

# another address is not concerned, nor are other applications, nor publishers

is(play('/live/s', '192.0.2.1')->status(), 200, 'another address');
is(play('/many/s')->status(), 200, 'another application');
my $p = rtmp_connect(port(1935), 'live');
$p->publish('s');
is($p->status(), 'NetStream.Publish.Start', 'a publisher');

# who leaves makes room
$http->close();
ok(wait_for(sub { ($http = play('/live/s'))->status() == 200 }), 'room again');
is(play('/live/s')->status(), 429, 'for one');
$rtmp->close();
my $ws;
ok(wait_for(sub { ($ws = websocket(port(8080), '/live/s'))->{status} == 101 }), 'and for another');

# both kinds together, and each by itself

my $only = rtmp_connect(port(1935), 'one');
$only->publish('s');
is($only->status(), 'NetStream.Publish.Start', 'the only one');
is(play('/one/s')->status(), 429, 'not both');
my $first = rtmp_connect(port(1935), 'source');
$first->publish('a');
is($first->status(), 'NetStream.Publish.Start', 'one publisher');
my $second = rtmp_connect(port(1935), 'source');
$second->publish('b');
is($second->status(), 'NetStream.Publish.Forbidden', 'not two');
my @players = map { play('/source/a') } 1 .. 3;
is(join(' ', map { $_->status() } @players), '200 200 429', 'two players');

# of IPv6, whoever has one address has its /64

@players = map { play('/live/s', $_) } qw/ 2001:db8::1 2001:db8::2:3 2001:db8::4 2001:db8:0:1::1 /;
is(join(' ', map { $_->status() } @players), '200 200 429 200', 'IPv6');

# the log says it once a second, not for each

my $log = $t->read_file('error.log');
like($log, qr/\[error\].* limited: the address has as many clients as it may, client: 127\.0\.0\.1/,
	'the log says who');

# values

for my $case (['rtmp_limit_conn 0', qr/invalid value "0".*a number from 1/],
	['rtmp_limit_conn all 1', qr/invalid value "all".*"publish" or "play"/],
	['rtmp_limit_conn play x', qr/invalid value "x"/],
	['rtmp_limit_conn 1; rtmp_limit_conn 2', qr/duplicate/],
	['rtmp_limit_conn off; rtmp_limit_conn 2', qr/duplicate/],
	['rtmp_limit_conn play off', qr/invalid value "off"/],
	['rtmp_limit_conn play 1; rtmp_limit_conn publish 1; rtmp_limit_conn 3', qr/^$/],
	['rtmp_limit_conn off', qr/^$/])
{
	like(conf_check($t, "rtmp { server { listen 127.0.0.1:%%PORT_1939%%;
		application live { $case->[0]; } } }"), $case->[1], $case->[0]);
}

###############################################################################

sub play {
	my ($uri, $address) = @_;
	my %headers = $address ? ('X-Real-IP' => $address) : ();
	return http_flv(port(8080), $uri, headers => \%headers);
}
