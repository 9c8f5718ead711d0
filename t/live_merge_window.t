#!/usr/bin/perl

# merge_window gathers messages for one write.

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

my $t = Test::Nginx->new()->plan(2);

live_run($t, app => 'merge_window 300ms;');

###############################################################################

my $p = publisher('s');
my $v = player('s');
$p->send_video(0, key_frame(0));
$v->read_video();

my $begin = time();
$p->send_video(40, inter_frame(1));
$p->result($p->command('createStream', undef));
ok(!$v->read_until(sub { $_[0]{type} == RTMP_VIDEO }, 0.1), 'a message waits');
$p->send_video(80, inter_frame(2));
my @got = map { $v->read_video()->{payload} } 1 .. 2;
is_deeply(\@got, [inter_frame(1), inter_frame(2)], 'and comes with the next one');

###############################################################################
