#!/usr/bin/perl

# HTTP-FLV: HEAD is answered at once and starts nothing, OPTIONS tells what is allowed.

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

my $t = Test::Nginx->new()->has(qw/http/)->plan(14);

flv_run($t, app => 'cache_time 1s;',
	rtmp => 'application quiet { live on; idle_streams off; }
		application closed { live on; deny play all; }
		application one { live on; max_connections 1; }');

###############################################################################

# nobody publishes

my $head = head('/live/none');
is($head->status(), 200, 'HEAD of a stream that may come');
is($head->header('Content-Type'), 'video/x-flv', 'its type');
is($head->closed(), 'closed', 'and no more');
is($head->{in} . $head->{body}, '', 'no body');
is(head('/quiet/none')->status(), 404, 'HEAD of a stream that does not come');
is(head('/closed/none')->status(), 403, 'HEAD of what is forbidden');

# it holds no place afterwards
is(head('/one/s')->status(), 200, "HEAD $_") for 1 .. 2;
is(http_flv(port(8080), '/one/s')->status(), 200, 'a player after that');

for my $method (qw/ OPTIONS POST /) {
	my $answer = http_flv(port(8080), '/live/none', method => $method);
	is($answer->status(), $method eq 'OPTIONS' ? 204 : 405, $method);
	is($answer->header('Allow'), 'GET, HEAD, OPTIONS', "$method, what is allowed");
}
is(http_flv(port(8080), '/live/none', method => 'OPTIONS')
	->header('Access-Control-Allow-Origin'), undef, 'no CORS by default');

###############################################################################

sub head {
	my ($uri) = @_;
	return http_flv(port(8080), $uri, method => 'HEAD');
}
