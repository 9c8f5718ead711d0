#!/usr/bin/perl

# Tests for origins that have no such stream: what players are told.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(11);

relay_run($t, near => <<'EOC', far => 'idle_streams off;');
            pull rtmp://127.0.0.1:%%PORT_1936%%;
        }

        application strict {
            live on;
            idle_streams off;
            pull rtmp://127.0.0.1:%%PORT_8081%%;
        }

        application http {
            live on;
            idle_streams off;
            pull http://127.0.0.1:%%PORT_8082%%;
EOC

###############################################################################

# idle_streams on: players wait for the origin as they wait for a publisher

my $v = near();
is($v->play('s'), 'NetStream.Play.Start', 'admitted');
my ($line) = wait_lines($t, qr/pull of "live\/s"/, 2);
like($line, qr/refused: NetStream.Play.StreamNotFound.*again in/, 'not there');
ok(!$v->closed(0.5), 'the player waits');
my $p = far();
$p->publish('s');
$p->send_video(0, "\x17\0\0\0\0avcC");
$p->send_video(0, "\x17\1\0\0\0k");
ok($v->read_video(), 'and gets it when it comes');

# idle_streams off: they are told

my $server = rtmp_server(port(8081));
for my $case (['StreamNotFound', 'StreamNotFound'], ['Forbidden', 'StreamNotFound']) {
	my ($code, $told) = @$case;
	my @players = map { near('strict') } 1 .. 2;
	$_->play('s') for @players;
	rtmp_accept($server, code => "NetStream.Play.$code")->closed();
	my @got = map { $_->read_status() } @players;
	is("@got", "NetStream.Play.$told NetStream.Play.$told", "$code ends the players");
	ok($players[0]->closed(), "$code closes them");
}
$server->timeout(0.3);
ok(!$server->accept(), 'no further attempts');

# but a server that fails is no answer

$v = near('strict');
$v->play('s');
rtmp_accept($server, until => 'connect')->close() for 1 .. 2;
ok(!$v->closed(0.2), 'a failure ends nobody');
$v->close();

$server = tcp_server(port(8082));
$v = near('http');
$v->play('s');
$server->timeout(5 * ($ENV{TEST_NGINX_SLOW} || 1));
my $socket = $server->accept();
# an answer before the request would be none
sysread($socket, my $request, 4096);
print $socket "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
is($v->read_status(), 'NetStream.Play.StreamNotFound', '404 of HTTP-FLV');

###############################################################################
