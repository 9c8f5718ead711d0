#!/usr/bin/perl

# "publish_conflict replace": a publisher that is let in takes the place of the
# one on air; its players stay.

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

my $t = Test::Nginx->new()->plan(15);

live_run($t, app => 'publish_conflict replace; idle_streams on; publish_notify on;',
	server => 'application gone { live on; publish_conflict replace; idle_streams off; deny publish 127.0.0.2; }');

###############################################################################

for my $app ('live', 'gone') {
	my $connect = sub { rtmp_connect(port(1935), $app, @_) };
	my $first = $connect->();
	$first->publish('s');
	$first->send_video(0, video_header(1));
	$first->send_video(0, key_frame(1));
	my $v = $connect->();
	is($v->play('s'), 'NetStream.Play.Start', "$app: a player");
	$first->send_video(40, key_frame(2));
	$v->read_until(sub { $_[0]{payload} eq key_frame(2) });

	my $second = $connect->();
	is($second->publish('s'), 'NetStream.Publish.Start', "$app: another publisher is let in");
	is($first->read_status(), 'NetStream.Publish.BadName', "$app: the first one is told");
	ok($first->closed(), "$app: and its session ends");
	$second->send_video(7000, video_header(2));
	$second->send_video(7000, key_frame(3));
	my $frame = $v->read_until(sub { $_[0]{payload} eq key_frame(3) });
	ok($frame, "$app: the player stays");
	is_deeply([grep { $_->{type} == 4 && $_->{event} == 1 || ($_->{name} // '') eq 'onStatus' } @{$v->{skipped}}],
		[], "$app: and is told of no end");

	if ($app eq 'gone') {
		# one that is not let in changes nothing
		my $denied = $connect->(from => '127.0.0.2');
		is($denied->publish('s'), 'NetStream.Publish.Forbidden', 'one that is denied');
		$second->send_video(7040, key_frame(4));
		ok($v->read_until(sub { $_[0]{payload} eq key_frame(4) }), 'takes nobody\'s place');
	}
}

# only what is on air under that name
my $p = rtmp_connect(port(1935), 'live');
$p->command('createStream', undef) for 1 .. 2;
$p->send_command($_, 'publish', 0, undef, "n$_", 'live') for 1 .. 2;
$p->read_status() for 1 .. 2;
publisher('n1');
my $v = player('n2');
$p->read_until(sub { ($_[0]{name} // '') eq 'onStatus' && $_[0]{stream} == 1 });
$p->send_message(RTMP_VIDEO, 40, 2, key_frame(5));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(5) }), 'other streams of the replaced one\'s connection go on');

###############################################################################
