#!/usr/bin/perl

# oclp_pull with several workers: one question and one relay for all players of a
# stream, and one answer for all of them.

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

my $PLAYERS = 16;

my $t = Test::Nginx->new()->plan(11);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;
worker_shutdown_timeout 2s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080 reuseport;
        live on;
        cache_time 1s;

        application edge {
            oclp_pull http://127.0.0.1:8081/pull stage=start,update,done update=200ms;
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

my $source = publisher();
$oclp->answer('pull start', status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8083) . '/core/name' ]);
my @players = map { player('name') } 1 .. $PLAYERS;
is(scalar(grep { key($_) } @players), $PLAYERS, 'all players get the stream');
is(scalar($oclp->requests('pull start')), 1, 'one question');
my @updates = $oclp->wait_requests('pull update', 3);
cmp_ok($updates[2]{time} - $updates[1]{time}, '>=', 0.19, 'updates by one worker');

# they leave, one after the other, whichever worker they are connected to

shift(@players)->close() while @players > 1;
my ($player) = @players;
$source->send_video(40, "\x17\x01\0\0\0again");
ok($player->read_until(sub { $_[0]{payload} =~ /again/ }), 'the last one still gets it');
is(scalar($oclp->requests('pull start')) - $oclp->requests('pull done'), 1, 'one relay');
$player->close();
my $starts = $oclp->requests('pull start');
is(scalar($oclp->wait_requests('pull done', $starts)), $starts, 'done with the last one');

# 4xx ends the players of all workers

$oclp->answer('pull start', status => 404, delay => 0.5);
@players = map { player('nothing') } 1 .. $PLAYERS;
my %codes;
$codes{$_->status() eq 'NetStream.Play.Start' ? $_->read_status() : $_->status()}++ for @players;
is_deeply(\%codes, { 'NetStream.Play.StreamNotFound' => $PLAYERS }, '404: no such stream, for all');
cmp_ok(scalar(grep { $_->{name} eq 'nothing' } $oclp->requests('pull start')), '<=', 4,
	'404: at most one question by each worker');

# a reload in between: players of both generations, no more than a relay each, no done is lost

$oclp->answer('pull start', status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8083) . '/core/name' ]);
@players = map { player('name') } 1 .. 4;
is(scalar(grep { key($_) } @players), 4, 'players before a reload');
$source->close();
$t->reload();
$source = publisher();
push @players, map { player('name') } 1 .. 4;
is(scalar(grep { key($_) } @players[4 .. 7]), 4, 'players after a reload');
$_->close() for @players;
wait_for {
	(() = $oclp->requests('pull done'))
		== grep { $_->{answer} == 302 } $oclp->requests('pull start');
} 10;
is(scalar($oclp->requests('pull done')),
	scalar(grep { $_->{answer} == 302 } $oclp->requests('pull start')), 'a done for each relay');

###############################################################################

sub publisher {
	my $p = rtmp_connect(port(8083), 'core');
	$p->publish('name');
	$p->send_video(0, "\x17\x00\0\0\0header");
	$p->send_video(0, "\x17\x01\0\0\0key");
	return $p;
}

sub player {
	my ($name) = @_;
	my $p = rtmp_connect(port(8080), 'edge');
	$p->play($name);
	return $p;
}

sub key {
	my ($p) = @_;
	return $p->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && substr($_[0]{payload}, 0, 2) eq "\x17\x01"
	});
}

###############################################################################
