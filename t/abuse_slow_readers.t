#!/usr/bin/perl

# Players that never read: what they hold back is bounded.

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

abuse_run($t, server => 'timeout 20s;', app => 'out_queue 1s size=1m;');

###############################################################################

my $p = rtmp_connect(port(1935), 'live', chunk_size => 65536);
$p->publish('big');
my @players = map { rtmp_connect(port(1935), 'live', rcvbuf => 4096) } 1 .. 50;
$_->play('big') for @players;
my $v = rtmp_connect(port(1935), 'live');
$v->play('big');

# 20 MB of stream, of which a player may hold back one
my $seen = 0;
for my $n (1 .. 400) {
	my $frame = ($n % 10 == 1 ? key_frame($n) : inter_frame($n)) . 'x' x 50000;
	$p->send_video($n * 40, $frame) or last;
	$seen++ if $v->read_until(sub { $_[0]{payload} eq $frame }, 5);
}
is($seen, 400, 'who reads gets every frame');
cmp_ok(grown_kb(), '<', 16384, 'fifty who do not hold back no twenty megabytes');

ok(bystanders_unharmed(), 'others go on');

###############################################################################
