#!/usr/bin/perl

# A worker that stood still goes on as if it had not: nobody is dropped for what could not be done
# meanwhile, and every player has its picture again.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header key_frame inter_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# in seconds: how long the worker stands still, which is longer than any patience of its own
my $STILL = 9;

my $t = Test::Nginx->new()->has(qw/http/)->plan(15);

flv_run($t, rtmp => 'ping 1s; ping_timeout 5s; timeout 8s; handshake_timeout 7s;',
	app => 'cache_time 1s; out_queue 8s size=256m; drop_idle_publisher 7s; idle_timeout 7s;
	}

	application gathering {
		live on;
		merge_window 1s;
		drop_idle_publisher 7s;');

###############################################################################

my ($worker) = worker_pids($t);

# streams, with players by RTMP and HTTP-FLV, one of which does not read

my $p = publisher('s', chunk_size => 65536);
my $g = rtmp_connect(port(1935), 'gathering');
$g->publish('s');
$_->send_video(0, key_frame(0)) for $p, $g;
my $v = player('s');
my $pinged = player('s', auto_pong => 0);
my $w = rtmp_connect(port(1935), 'gathering');
$w->play('s');
my $cut = player('s');
$p->send_video(40, key_frame(1));
my $h = flv_play('s');
$p->send_video(80, inter_frame(2));
ok(has($_, inter_frame(2)), 'plays') for $v, $pinged;
$g->send_video($_ * 40, key_frame($_)) for 1 .. 3;
ok(has($w, key_frame(3)), 'plays what is gathered');
my $slow = player('s', rcvbuf => 4096);
$p->send_video(100, key_frame(100));
$p->send_video(100 + $_, inter_frame(100 + $_) . 'x' x 100_000) for 1 .. 100;
$p->result($p->command('createStream', undef));
# its handshake has begun
my $late = rtmp_open(port(1935));
$late->send_raw("\3" . "\0" x 100);

my $waiting = player('later');
ok($pinged->read_until(sub { $_[0]{type} == 4 && $_[0]{event} == 6 }, 10), 'one is asked whether it is there');

kill 'STOP', $worker;
wait_for { state_of($worker) eq 'T' };

# meanwhile they send all that they would, one is cut, and others come
$p->send_video(1000, inter_frame(201));
$g->send_video(1000, key_frame(201));
$pinged->send_message(4, 0, 0, pack('n N', 7, 1));
$late->send_raw("\0" x 1436);
$cut->abort();
my $came = rtmp_open(port(1935));
select undef, undef, undef, $STILL;
kill 'CONT', $worker;

ok(has($v, inter_frame(201)), 'a player has its picture again');
ok(has($pinged, inter_frame(201)), 'one that has answered in time, too');
ok(has($w, key_frame(201)), 'and one of a publisher that is read with each flush');
my $tag;
1 while ($tag = $h->read_tag()) && $tag->{payload} ne inter_frame(201);
ok($tag, 'and one by HTTP-FLV');

# what waited for it is all there
my @seen;
$slow->read_until(sub {
	push @seen, unpack('x5 N', $_[0]{payload}) if $_[0]{type} == RTMP_VIDEO;
	return $_[0]{payload} eq inter_frame(201);
}, 30);
is_deeply([grep { $_ >= 100 } @seen], [100 .. 201], 'a player that was behind misses nothing');

ok($late->read_raw(1 + 2 * 1536), 'a client that had begun is answered');
$came->handshake();
$came->send_command(0, 'connect', 1, { app => 'live' });
ok($came->result(1), 'one that came meanwhile is let in');

# their publisher could not come, and does now
my $q = publisher('later');
is($q->status(), 'NetStream.Publish.Start', 'a new publisher');
$q->send_video(0, key_frame(7));
ok(has($waiting, key_frame(7)), 'a player that waited for one has its picture');

# nobody was dropped, and all goes on
$p->send_video(1040, key_frame(202));
$g->send_video(1040, key_frame(202));
ok(has($v, key_frame(202)) && has($w, key_frame(202)), 'publishers go on');
is(join("\n", grep { /timed out|too slow|nobody publishes/ } split /\n/, $t->read_file('error.log')), '',
	'nobody is said to be late');

###############################################################################

sub has {
	my ($player, $payload) = @_;
	return $player->read_until(sub { $_[0]{payload} eq $payload }, 30);
}

sub state_of {
	my ($pid) = @_;
	open my $stat, '<', "/proc/$pid/stat" or return '';
	return <$stat> =~ /\) (\S)/ ? $1 : '';
}

###############################################################################
