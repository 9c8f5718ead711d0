#!/usr/bin/perl

# HTTP-FLV: which server, application and client a request is for.

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

my $t = Test::Nginx->new()->has(qw/http realip/)->plan(13);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8080;
        set_real_ip_from 127.0.0.1;

        location / {
            flv_live %%PORT_1935%%;
        }
        location /two/ {
            flv_live 127.0.0.1:%%PORT_1936%% app=live;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    live on;
    cache_time 1s;

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        server_name a.example;
        application live { }
        application deep/er { }
        application private { deny play 192.0.2.1; }
    }

    server {
        listen 127.0.0.1:%%PORT_1935%%;
        server_name b.example *.b.example;
        application live { idle_streams off; }
    }

    server {
        listen 127.0.0.1:%%PORT_1936%%;
        application live { }
    }
}

EOC

$t->run();

###############################################################################

my @publishers;
for my $case (['a.example', 'live', 1], ['b.example', 'live', 2], ['a.example', 'deep/er', 3],
	['a.example', 'private', 4])
{
	my ($host, $app, $n) = @$case;
	push @publishers, publish_to(port(1935), $host, $app, $n);
}
push @publishers, publish_to(port(1936), 'localhost', 'live', 5);

is(plays('/live/s', 'a.example'), 1, 'server by Host');
is(plays('/live/s', 'b.example'), 2, 'another one');
is(plays('/live/s', 'B.Example:8080'), 2, 'whatever the case, and with a port');
is(plays('/live/s', 'x.b.example'), 2, 'by a wildcard');
is(plays('/live/s', 'unknown'), 1, 'the default server');
is(plays('/deep/er/s.flv', 'a.example'), 3, 'an application of two levels');
is(plays('/two/levels/s', 'localhost'), 5, 'another address, and app=');
is(plays('/live/s', '127.0.0.1'), 1, 'an address as Host');
# as in RTMP: behind an address, the first of several levels is the domain
is(plays('/b.example/live/s', '127.0.0.1'), 2, 'the domain in the path');
is(plays('/private/s', 'a.example'), 4, 'a client that may');
is(plays('/private/s', 'a.example', 'X-Real-IP' => '192.0.2.1'), 403, 'one that may not');
is(plays('/private/s', 'a.example', 'X-Real-IP' => '192.0.2.2'), 4, 'its neighbour');
is(plays('/live/none', 'b.example'), 404, 'no stream');

###############################################################################

sub publish_to {
	my ($port, $host, $app, $n) = @_;
	my $p = rtmp_connect($port, $app, tc_url => "rtmp://$host/$app");
	$p->publish('s');
	$p->send_audio(0, audio_header());
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame($n));
	$p->result($p->command('createStream', undef));
	return $p;
}

# The number of the stream that comes, or the status if none does.
sub plays {
	my ($uri, $host, %headers) = @_;
	my $player = http_flv(port(8080), $uri, headers => { Host => $host, %headers });
	return $player->status() if $player->status() != 200;
	while (my $tag = $player->read_tag()) {
		return unpack('x5 N', $tag->{payload}) if flv_kind($tag) eq 'key';
	}
}
