#!/usr/bin/perl

# Timestamps at their limits and out of order.

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

my $t = Test::Nginx->new()->plan(8);

abuse_run($t, app => 'cache_time 1s;');

###############################################################################

for my $start (0x00FFFFF0, 0xFFFFFFF0) {
	my $p = rtmp_connect(port(1935), 'live');
	$p->publish("wrap$start");
	my $v = rtmp_connect(port(1935), 'live');
	$v->play("wrap$start");
	my (@sent, @got);
	for my $n (0 .. 9) {
		my $timestamp = ($start + $n * 4) % (1 << 32);
		push @sent, $timestamp;
		$p->send_video($timestamp, $n ? inter_frame($n) : key_frame(0));
		push @got, $v->read_video()->{timestamp};
	}
	is_deeply(\@got, \@sent, sprintf('over the limit from %x', $start));
	my $late = rtmp_connect(port(1935), 'live');
	$late->play("wrap$start");
	is($late->read_until(sub { $_[0]{type} == RTMP_VIDEO })->{timestamp}, $sent[0],
		'a late player starts at the key frame');
}

# a clock that jumps: back by hours, forward by days, and stands still
my $p = rtmp_connect(port(1935), 'live');
$p->publish('jump');
my $v = rtmp_connect(port(1935), 'live');
$v->play('jump');
my (@got, $last);
my @jumps = (10_000_000, 10_000_040, 5, 45, 3_000_000_000, 3_000_000_040,
	3_000_000_040, 1000, 1040);
for my $n (0 .. $#jumps) {
	$p->send_video($jumps[$n], key_frame($n));
	push @got, $v->read_video()->{timestamp};
}
my $back = grep { ($got[$_] - $got[$_ - 1]) % (1 << 32) > 1 << 31 } 1 .. $#got;
is($back, 0, 'players see no step backwards');
$p->send_video(1080 + $_, key_frame(100)) for 1 .. 2000;
$p->send_video(5000, key_frame(101));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(101) }), 'the stream goes on');
cmp_ok(grown_kb(), '<', 8192, 'the cache is bounded');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
