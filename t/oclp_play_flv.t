#!/usr/bin/perl

# oclp_play, oclp_stream and oclp_pull for HTTP-FLV players: the same requests as for
# RTMP players, and what the answers do to them.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep time /;
use Test::Nginx::FLV;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(44);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8082;

        location / {
            flv_live 127.0.0.1:8080;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;
        live on;
        cache_time 1s;
        relay_reconnect 400ms;

        application test {
            oclp_play http://127.0.0.1:8081/play stage=start,update,done args=s=$scheme&$args
                      timeout=500ms update=200ms;
            oclp_stream http://127.0.0.1:8081/stream stage=done;
        }

        application closed {
            oclp_fail closed;
            oclp_play http://127.0.0.1:8081/play stage=done timeout=500ms;
        }

        application edge {
            oclp_pull http://127.0.0.1:8081/pull stage=done timeout=300ms;
        }
    }

    server {
        listen 127.0.0.1:8083;
        live on;
        cache_time 1s;

        application core {
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my @publishers = map { publisher(8080, $_, 'name') } qw/ test closed /;
$oclp->wait_requests('stream start', 1);

# the request, byte for byte

my $p = player('/test/name.flv?token=x');
is($p->status(), 200, '200: accepted');
is(key($p), 'key', 'the stream');
my ($start) = $oclp->requests('play start');
is($start->{line}, 'GET /play?call=play&act=start&domain=flv.example&app=test&name=name'
	. '&s=http&token=x HTTP/1.1', 'start, the request line');
my @updates = $oclp->wait_requests('play update', 2);
is($updates[0]{line}, $start->{line} =~ s/act=start/act=update/r, 'update');
cmp_ok($updates[1]{time} - $updates[0]{time}, '>=', 0.19, 'time between updates');
$p->close();
my ($done) = $oclp->wait_requests('play done', 1);
is($done->{line}, $start->{line} =~ s/act=start/act=done/r, 'done');
is(scalar($oclp->requests('stream start')), 1, 'no other stream');
is(scalar($oclp->requests('stream done')), 0, 'the stream goes on');

# what is refused

for my $status (201, 204, 299, 301, 302, 304, 400, 403, 404, 499, 500, 503) {
	$oclp->answer('play start', status => $status,
		headers => [ Location => 'rtmp://127.0.0.1:1/x/y' ]);
	$p = player('/test/name');
	is($p->status(), 403, "$status: refused");
}
sleep(0.1);
is(scalar($oclp->requests('play done')), 1, 'no done after a refusal');

# no answer

$oclp->answer('play start', hang => 1);
my $began = time();
$p = player('/test/name');
is($p->status(), 200, 'no answer: accepted');
is(key($p), 'key', 'no answer: the stream');
my $took = time() - $began;
cmp_ok($took, '>=', 0.45, 'after the timeout');
cmp_ok($took, '<', 1.5, 'and not much later');
is(player('/closed/name')->status(), 403, 'no answer, oclp_fail closed: refused');
my $updates = $oclp->requests('play update');
sleep(0.5);
is(scalar($oclp->requests('play update')), $updates, 'no update without an answer');
$p->close();
is(scalar($oclp->wait_requests('play done', 2)), 2, 'done without an answer');

# who leaves while the decision is made

$oclp->answer('play start', status => 200, delay => 0.2);
my $starts = $oclp->requests('play start');
$p = http_flv(port(8082), '/test/name', wait => 0);
$oclp->wait_requests('play start', $starts + 1);
$p->close();
is(scalar($oclp->wait_requests('play done', 3)), 3, 'left while pending');

# HEAD asks too, and is over at once

$oclp->answer('play start', status => 200);
$p = player('/test/name', method => 'HEAD');
is($p->status(), 200, 'HEAD');
is(scalar($oclp->wait_requests('play done', 4)), 4, 'HEAD: done');

# the publisher leaves, and then the last player: the stream ends with it

$p = player('/test/name');
is(key($p), 'key', 'a player');
$publishers[0]->close();
sleep(0.1);
is(scalar($oclp->requests('stream done')), 0, 'a player keeps the stream');
$p->close();
is(scalar($oclp->wait_requests('stream done', 1)), 1, 'stream done');
is(($oclp->events())[-1], 'stream done', 'stream done is the last');

# a pull

my $source = publisher(8083, 'core', 'name');
$oclp->answer('pull start', status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8083) . '/core/name' ]);
$p = player('/edge/name?k=v');
is(key($p), 'key', 'pulled');
my ($pull) = $oclp->requests('pull start');
is($pull->{line}, 'GET /pull?call=pull&act=start&domain=flv.example&app=edge&name=name HTTP/1.1',
	'pull, the request line');
my $rtmp = rtmp_connect(port(8080), 'edge');
$rtmp->play('name');
ok($rtmp->read_media(), 'shared with an RTMP player');
is(scalar($oclp->requests('pull start')), 1, 'one pull');
$_->close() for $rtmp, $p;
is(scalar($oclp->wait_requests('pull done', 1)), 1, 'pull done');

for my $status (204, 404, 503) {
	$oclp->answer('pull start', status => $status, delay => 0.1);
	my @players = map { http_flv(port(8082), "/edge/no$status", wait => 0) } 1 .. 2;
	$_->answered() for @players;
	is(join(' ', map { $_->status() // 'none' } @players), '404 404', "$status: no such stream");
}

# over a WebSocket, too

$oclp->answer('play start', status => 403);
$p = player('/closed/name', headers => { Upgrade => 'websocket', Connection => 'Upgrade',
	'Sec-WebSocket-Key' => 'x3JJHMbDL1EzLkh9GBhXDw==', 'Sec-WebSocket-Version' => 13 });
is($p->status(), 403, 'WebSocket refused');

###############################################################################

sub player {
	my ($uri, %options) = @_;
	return http_flv(port(8082), $uri, %options,
		headers => { Host => 'FLV.example:8000', %{$options{headers} // {}} });
}

sub key {
	my ($p) = @_;
	while (my $tag = $p->read_tag()) {
		return substr($tag->{payload}, 5) if substr($tag->{payload}, 0, 2) eq "\x17\x01";
	}
	return;
}

sub publisher {
	my ($port, $app, $name) = @_;
	my $p = rtmp_connect(port($port), $app);
	$p->publish($name);
	$p->send_video(0, "\x17\x00\0\0\0header");
	$p->send_video(0, "\x17\x01\0\0\0key");
	return $p;
}

###############################################################################
