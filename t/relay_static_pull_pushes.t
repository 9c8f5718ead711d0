#!/usr/bin/perl

# The pushes of a static pull go on, whichever worker pulls the stream: when the one that pulled is
# killed, when a publisher came and left, over a reload, with players in other workers.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::Relay qw/ rtmp_server rtmp_accept /;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(11);
$t->todo_alerts();

my ($server, $target) = map { rtmp_server(port($_)) } 8081, 8082;
workers_run($t, 4, main => 'worker_shutdown_timeout 20s;', app => 'push rtmp://127.0.0.1:%%PORT_8082%%; '
	. 'pull rtmp://127.0.0.1:%%PORT_8081%%/there/remote name=local static;');

###############################################################################

my ($origin, $pushed, $n) = (undef, undef, 0);
goes_on('at the start');

# players in other workers

my $home = worker_of($t, $origin);
my @players = map { my $c = client_at($t, sub { $_[0] != $home }); $c->play('local'); $c } 1 .. 6;
is(sees(@players), 6, 'players of other workers');

# the worker that pulls dies

kill 'KILL', $home;
ok($origin->closed(), 'the worker that pulls is killed');
goes_on('another one pulls');
is(sees(@players), 6, 'players stay');

# a publisher comes, in whatever worker, and leaves

$home = worker_of($t, $origin);
my $p = client_at($t, sub { $_[0] != $home });
is($p->publish('local'), 'NetStream.Publish.Start', 'a publisher comes');
$p->send_video(0, $_) for video_header(), key_frame(1000);
ok($origin->closed(), 'the pull ends');
$p->close();
goes_on('the publisher has left');
is(sees(@players), 6, 'players stay');

# a reload: the old workers go on with their players, and the new ones follow

kill 'HUP', $t->read_file('nginx.pid');
wait_for { (() = worker_pids($t)) >= 5 };
is(sees(@players), 6, 'players stay in the old workers');
$_->close() for @players;
goes_on('after a reload');

###############################################################################

# The stream is pulled by some worker, anew if need be, and comes out at the target. Either side may
# close at any moment while it changes hands, so neither is waited for alone.
sub goes_on {
	my ($what) = @_;
	my $frame = key_frame(++$n);
	my $came = wait_for {
		$origin = rtmp_accept($server, timeout => 0.1) // $origin if !$origin || $origin->closed(0.05);
		$origin->send_video(40 * $n, $_) for $origin ? (video_header(), $frame) : ();
		$pushed = rtmp_accept($target, timeout => 0.1) // $pushed if !$pushed || $pushed->closed(0.05);
		$pushed && $pushed->read_until(sub { ($_[0]{payload} // '') eq $frame }, 0.5);
	};
	ok($came, "$what: pushed on");
}

# How many players get the next frame.
sub sees {
	my $frame = key_frame(++$n);
	$origin->send_video(40 * $n, $frame);
	return scalar grep { $_->read_until(sub { $_[0]{payload} eq $frame }) } @_;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
