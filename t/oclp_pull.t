#!/usr/bin/perl

# oclp_pull: what the server is asked when a stream is played that nobody publishes,
# and what each of its answers does.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep time /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(51);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;
        live on;
        cache_time 1s;

        application edge {
            oclp_pull http://127.0.0.1:8081/oclp/v1/pull stage=start,update,done args=a=c&b=d
                      timeout=1s update=200ms;
            pull rtmp://127.0.0.1:8084/never app=core;
        }

        application plain {
            oclp_pull http://127.0.0.1:8081/oclp/v1/pull;
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
my $origin = 'rtmp://127.0.0.1:' . port(8083);
my @redirect = (status => 302, headers => [ Location => "$origin/core/name" ]);
$t->run();

###############################################################################

# 3xx: it is pulled, once for all players

my $publisher = publisher(port(8083), 'core', 'name');
$oclp->answer('pull start', @redirect);
my @players = map { player('edge', 'name?token=x') } 1 .. 3;
is($players[0]->status(), 'NetStream.Play.Start', 'player stays');
is(video($_), 'key', 'a player gets the stream') for @players;
my ($start) = $oclp->requests('pull start');
is($start->{line}, 'GET /oclp/v1/pull?call=pull&act=start&domain=localhost'
	. '&app=edge&name=name&a=c&b=d HTTP/1.1', 'start, the request line');
is(scalar($oclp->requests('pull start')), 1, 'asked once for all players');

my @updates = $oclp->wait_requests('pull update', 2);
is($updates[0]{line}, $start->{line} =~ s/act=start/act=update/r, 'update');
cmp_ok($updates[1]{time} - $updates[0]{time}, '>=', 0.19, 'time between updates');

pop(@players)->close() while @players > 1;
sleep(0.1);
is(scalar($oclp->requests('pull done')), 0, 'goes on for the last player');
$players[0]->close();
my ($done) = $oclp->wait_requests('pull done', 1);
is($done->{line}, $start->{line} =~ s/act=start/act=done/r, 'done');

for my $status (301, 303, 307, 308, 399) {
	$oclp->answer('pull start', @redirect, status => $status);
	my $p = player('edge', 'name');
	is(video($p), 'key', "$status: pulled");
	$p->close();
}
is(scalar($oclp->wait_requests('pull done', 6)), 6, 'done of each');

# without stages nothing but start

my $seen = $oclp->requests();
$oclp->answer('pull start', @redirect);
my $plain = player('plain', 'name');
is(video($plain), 'key', 'pulled without stages');
$plain->close();

# who publishes here wins over a pull, and is not asked about

my $p = player('edge', 'name');
is(video($p), 'key', 'pulled');
my $dones = $oclp->requests('pull done');
my $local = publisher(port(8080), 'edge', 'name');
is(scalar($oclp->wait_requests('pull done', $dones + 1)), $dones + 1,
	'done when somebody publishes here');
my $starts = $oclp->requests('pull start');
my $other = player('edge', 'name');
is(video($other), 'key', 'from the publisher');
is(scalar($oclp->requests('pull start')), $starts, 'not asked while one publishes');
# and is asked about again when that one leaves
$local->close();
is(scalar($oclp->wait_requests('pull start', $starts + 1)), $starts + 1,
	'asked again when the publisher has left');
$_->close() for $p, $other;
$oclp->wait_requests('pull done', $dones + 2);

# the publisher at the origin leaves, and then the player: done once

$p = player('edge', 'name');
is(video($p), 'key', 'pulled');
($starts, $dones) = (scalar($oclp->requests('pull start')), scalar($oclp->requests('pull done')));
$oclp->answer('pull start', status => 200);
$publisher->close();
$p->close();
is(scalar($oclp->wait_requests('pull done', $dones + 1)), $dones + 1, 'done once');

# 200: no relay, the players stay; no update, no done; the next player asks again

($starts, $dones) = (scalar($oclp->requests('pull start')), scalar($oclp->requests('pull done')));
my $updates = $oclp->requests('pull update');
@players = player('edge', 'nothing');
is($players[0]->status(), 'NetStream.Play.Start', '200: player stays');
$oclp->wait_requests('pull start', $starts + 1);
sleep(0.2);
push @players, player('edge', 'nothing');
$oclp->wait_requests('pull start', $starts + 2);
sleep(0.6);
is(scalar($oclp->requests('pull start')), $starts + 2, '200: each player asks, and no more');
ok(!$players[0]->closed(0.05), '200: nobody is closed');
$_->close() for @players;
sleep(0.2);
is(scalar($oclp->requests('pull done')), $dones, '200: no done');
is(scalar($oclp->requests('pull update')), $updates, '200: no update');

# other 2xx, 4xx, 5xx: all players of the stream are told

for my $status (201, 204, 400, 403, 404, 500, 503) {
	$oclp->answer('pull start', status => $status, delay => 0.1,
		headers => [ Location => "$origin/core/name" ]);
	@players = map { player('edge', "status$status") } 1 .. 2;
	my @codes = map { $_->status() eq 'NetStream.Play.Start'
		? $_->read_status() : $_->status() } @players;
	is("@codes", 'NetStream.Play.StreamNotFound NetStream.Play.StreamNotFound',
		"$status: no such stream");
}
is($players[0]->info()->{level}, 'error', 'level');
ok($players[0]->closed(), 'closed');
is(scalar($oclp->requests('pull done')), $dones, 'no done');

# no answer: asked again, later and later, until there is one

for my $answer ([ hang => 1 ], [ raw => '' ], [ raw => "garbage\x0d\x0a\x0d\x0a" ]) {
	my $kind = join ' ', $answer->[0], length $answer->[1];
	$publisher = publisher(port(8083), 'core', 'name') if !$publisher->{socket};
	$oclp->answer('pull start', { @$answer }, { @$answer }, { @$answer }, { @redirect });
	$starts = $oclp->requests('pull start');
	$p = player('edge', 'name');
	is($p->status(), 'NetStream.Play.Start', "$kind: player stays");
	is(video($p), 'key', "$kind: pulled once there is an answer");
	my @requests = ($oclp->requests('pull start'))[$starts .. $starts + 3];
	my $later = $requests[3]{time} - $requests[2]{time};
	cmp_ok($later, '>=', 0.07, "$kind: asked again, later and later");
	$p->close();
}
# one for each relay that was made
is(scalar($oclp->wait_requests('pull done', $dones + 3)), $dones + 3, 'done');

# nobody listens: the same

$oclp->answer('pull start', @redirect);
$oclp->stop();
$p = player('edge', 'name');
is($p->status(), 'NetStream.Play.Start', 'refused: player stays');
sleep(0.2);
$oclp->start();
is(video($p), 'key', 'refused: pulled once there is an answer');
$p->close();

###############################################################################

sub video {
	my ($p) = @_;
	my $message = $p->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && substr($_[0]{payload}, 1, 1) eq "\x01"
	});
	return $message ? substr($message->{payload}, 5) : undef;
}

sub player {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->play($name);
	return $p;
}

# A publisher with headers and a key frame.
sub publisher {
	my ($port, $app, $name) = @_;
	my $p = rtmp_connect($port, $app);
	$p->publish($name);
	$p->send_video(0, "\x17\x00\0\0\0header");
	$p->send_video(0, "\x17\x01\0\0\0key");
	return $p;
}

###############################################################################
