#!/usr/bin/perl

# receiveAudio and receiveVideo choose what a player gets.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(3);

live_run($t);

###############################################################################

my $p = publisher('s');
my $v = player('s');
$p->send_video(0, key_frame(0));
$v->read_video();
$v->send_command(1, 'receiveVideo', 0, undef, JSON::PP::false);
$v->result($v->command('createStream', undef));
$p->send_video(40, key_frame(1));
$p->send_audio(50, audio_frame(2));
is($v->read_media()->{payload}, audio_frame(2), 'no video');
$v->send_command(1, 'receiveVideo', 0, undef, JSON::PP::true);
$v->result($v->command('createStream', undef));
$p->send_video(80, key_frame(3));
is($v->read_video()->{payload}, key_frame(3), 'video again');
$v->send_command(1, 'receiveAudio', 0, undef, JSON::PP::false);
$v->result($v->command('createStream', undef));
$p->send_audio(90, audio_frame(4));
$p->send_video(120, key_frame(5));
is($v->read_media()->{payload}, key_frame(5), 'no audio');

###############################################################################
