#!/usr/bin/perl

# player_memory: what is held for one player alone. It is closed when that is too much, with one
# line that says so; others are not.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# more than sockets take: a player is in the midst of it when it is moved on
my $LARGE = 14_000_000;

my $t = Test::Nginx->new()->has(qw/http/)->plan(12);

flv_run($t, app => 'cache_time 1s;',
	rtmp => 'application roomy { live on; cache_time 1s; player_memory 16m; }');

###############################################################################

for my $app (qw/ live roomy /) {
	my $p = rtmp_connect(port(1935), $app, chunk_size => 0xffffff);
	$p->publish('s');
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame(0));
	my $v = rtmp_connect(port(1935), $app, rcvbuf => 4096);
	$v->play('s');
	my $h = http_flv(port(8080), "/$app/s", rcvbuf => 4096);
	# it is in the stream when that begins
	$h->flags();
	my $reader = rtmp_connect(port(1935), $app);
	$reader->play('s');

	my $large = key_frame(1) . 'x' x $LARGE;
	$p->send_video(40, $large, csid => 6);
	ok($reader->read_until(sub { $_[0]{payload} eq $large }, 30), "$app: who reads gets a large frame");
	# at the next flush both are found to be too far behind
	$p->send_video(80, inter_frame(2));
	ok($reader->read_until(sub { $_[0]{payload} eq inter_frame(2) }), "$app: and what follows");
	$p->send_video(120, key_frame(3));
	$reader->read_until(sub { $_[0]{payload} eq key_frame(3) });

	my $came = $v->read_until(sub { $_[0]{payload} eq key_frame(3) }, 30);
	my $whole = grep { $_->{payload} eq $large } @{$v->{skipped}};
	my @lines = grep { /closed: more unread than "player_memory" allows/ }
		split /\n/, $t->read_file('error.log');
	if ($app eq 'live') {
		ok(!$came && $v->{eof}, 'a player that would hold too much is closed');
		ok(wait_for { $h->closed(1) }, 'one by HTTP-FLV, too');
		is(scalar @lines, 2, 'with a line for each');
		my ($bytes, $packets) = $lines[0]
			=~ /allows: (\d+) bytes, of a stream that holds (\d+) of packets, \d+ of headers/;
		cmp_ok($bytes // 0, '>', 2 << 20, 'which says how much it is');
		cmp_ok($packets // -1, '<', 64 << 20, 'and what the stream holds');
	} else {
		ok($came, 'where there is room it goes on');
		is($whole, 1, 'behind the whole frame');
		is(scalar @lines, 2, 'and nothing is said');
	}
}

###############################################################################
