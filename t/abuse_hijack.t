#!/usr/bin/perl

# A stream belongs to its publisher.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Abuse;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(7);

abuse_run($t);

###############################################################################

my $p = rtmp_connect(port(1935), 'live');
$p->publish('mine');
my $v = rtmp_connect(port(1935), 'live');
$v->play('mine');
$p->send_video(0, key_frame(0));
is($v->read_video()->{payload}, key_frame(0), 'the publisher is seen');

my $q = rtmp_connect(port(1935), 'live');
$q->publish('mine');
is($q->status(), 'NetStream.Publish.BadName', 'a second one is refused');
$q->{stream} = 1;
$q->send_video(40, key_frame(666));
ok(refused($q), 'and its session ends');

# media before publish, and of a player
my $w = rtmp_connect(port(1935), 'live');
$w->create_stream();
$w->send_message(RTMP_VIDEO, 40, 1, key_frame(667));
$v->send_message(RTMP_VIDEO, 40, 1, key_frame(668));
$p->send_video(80, key_frame(1));
is($v->read_video()->{payload}, key_frame(1), 'only the publisher\'s media is seen');

for my $command ('publish', 'play') {
	my $early = rtmp_open(port(1935));
	$early->handshake();
	$early->send_command(1, $command, 0, undef, 'mine');
	ok(refused($early), "$command before connect");
}

ok(bystanders_unharmed(), 'others go on');

###############################################################################
