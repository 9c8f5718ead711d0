#!/usr/bin/perl

# HTTP-FLV behind internal redirects, subrequests and post_action.

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

my $t = Test::Nginx->new()->has(qw/http rewrite ssi/)->plan(11);

$t->write_file('page.html', 'before <!--#include virtual="/live/s" --> after');

flv_run($t, app => 'cache_time 1s;',
	rtmp => 'application quiet { live on; idle_streams off; cache_time 1s; max_connections 2; }',
	server => 'location /else/ { flv_live %%PORT_1935%% app=quiet; error_page 404 = /instead/s; }
		location /instead/ { flv_live %%PORT_1935%% app=live; }
		location /round/ { flv_live %%PORT_1935%% app=quiet; error_page 404 = /round/none; }
		location /then/ { flv_live %%PORT_1935%% app=quiet; post_action /quiet/ends; }
		location /named/ { flv_live %%PORT_1935%% app=quiet; error_page 404 = @page; }
		location @page { return 200 named; }
		location = /page.html { ssi on; ssi_types *; root %%TESTDIR%%; }');

###############################################################################

my $p = publisher('s');
published($p);

# a page for errors may be a stream, and a request may come back

my $else = http_flv(port(8080), '/else/none');
is($else->status(), 200, 'another stream instead');
is($else->flags(), 5, 'its FLV');
$p->send_video(5000, key_frame(50));
ok((grep { $_->{payload} eq key_frame(50) } $else->read_tags(40, 2)), 'and what comes');
like(http_get('/named/none'), qr/named$/, 'a named location instead');
is(http_flv(port(8080), '/round/none')->status(), 404, 'itself instead');

# no part of another answer is a stream

like(http_get('/page.html'), qr/^before .* after$/ms, 'an include');

# what is asked for after the end of an answer: each leaves its place

for my $n (1 .. 2) {
	my $q = rtmp_connect(port(1935), 'quiet');
	$q->publish('ends');
	published($q);
	my $then = http_flv(port(8080), '/then/ends');
	ok(defined $then->flags(), "a player, round $n");
	$q->close();
	is($then->closed(), 'complete', "and its end, round $n");
}
is(http_flv(port(8080), '/live/s')->status(), 200, 'a later one');

###############################################################################
