#!/usr/bin/perl

# Abort gives up the unfinished message of its chunk stream, and nothing else.

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

my $t = Test::Nginx->new()->plan(3);

abuse_run($t);

###############################################################################

my $p = rtmp_connect(port(1935), 'live');
$p->publish('abort');
my $v = rtmp_connect(port(1935), 'live');
$v->play('abort');
$p->send_video(0, key_frame(0));
$v->read_until(sub { $_[0]{payload} eq key_frame(0) });

$p->send_raw(rtmp_chunk(0, 6, 'x' x 128, timestamp => 40, length => 1000,
	type => RTMP_VIDEO, stream => 1));
$p->send_message(2, 0, 0, pack('N', 6));
$p->send_video(80, key_frame(1));
my $next = $v->read_video();
is($next->{payload}, key_frame(1), 'the aborted message is gone, the next one whole');

$p->send_message(2, 0, 0, pack('N', 31));
$p->send_message(2, 0, 0, pack('N', 70000));
$p->send_video(120, key_frame(2));
$next = $v->read_video();
is($next->{payload}, key_frame(2), 'aborting what is not there does nothing');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
