#!/usr/bin/perl

# Without a cache and without a player a stream is only pushed on. Players that
# come and go meanwhile get what comes from their first key frame on.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(8);

relay_run($t, cache => 0, near => 'push rtmp://127.0.0.1:%%PORT_1936%%;');

###############################################################################

my $time = 0;
my $there = far();
$there->play('s');
my $p = near();
$p->publish('s');
wait_lines($t, qr/push of "live\/s" .*: established/);
send_all(video_header(), key_frame(0), inter_frame(1));
is_deeply([take($there, 3)], [video_header(), key_frame(0), inter_frame(1)],
	'pushed, while nobody plays it here');

for my $n (2, 6) {
	my $here = near();
	is($here->play('s'), 'NetStream.Play.Start', 'a player comes');
	my @frames = (inter_frame($n), key_frame($n + 1), inter_frame($n + 2));
	send_all(@frames);
	is_deeply([take($here, 3)], [video_header(), @frames[1, 2]],
		'it gets headers and what comes from a key frame on');
	is_deeply([take($there, 3)], \@frames, 'and the push everything');
	$here->command('closeStream', undef);
	send_all(inter_frame($n + 3));
	take($there, 1);
}

send_all(key_frame(10), inter_frame(11));
is_deeply([take($there, 2)], [key_frame(10), inter_frame(11)],
	'pushed, after the players have left');

###############################################################################

sub send_all { $p->send_video($time += 40, $_) for @_ }

sub take { my ($from, $n) = @_; map { $from->read_video()->{payload} } 1 .. $n }

###############################################################################
