#!/usr/bin/perl

# A player that falls behind is moved to a key frame, with whole messages before.

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

live_run($t, app => 'out_queue 10s size=256k;');

###############################################################################

my $p = publisher('s', chunk_size => 65536);
my $v = player('s', rcvbuf => 4096);
$p->send_video(0, video_header());

# the player does not read while 8 MB are sent
my $n = 0;
my %sent;
for (1 .. 200) {
	my $frame = ($n % 5 ? inter_frame($n) : key_frame($n)) . chr(65 + $n % 26) x 40000;
	$sent{$frame} = $n;
	$p->send_video(++$n * 40, $frame);
}
$p->result($p->command('createStream', undef));
$p->send_video(100_000, key_frame(999));

my (@numbers, $unknown);
$v->read_until(sub {
	my $m = $_[0];
	return 0 if $m->{type} != RTMP_VIDEO || $m->{payload} eq video_header();
	return 1 if $m->{payload} eq key_frame(999);
	exists $sent{$m->{payload}} ? push @numbers, $sent{$m->{payload}} : $unknown++;
	return 0;
}, 10);
is($unknown, undef, 'every message is one that was sent');
my @jumps = grep { $numbers[$_] != $numbers[$_ - 1] + 1 } 1 .. $#numbers;
cmp_ok(scalar @numbers, '<', 200, 'some were left out');
is(scalar(grep { $numbers[$_] % 5 } @jumps), 0, 'up to a key frame');

###############################################################################
