#!/usr/bin/perl

# Tests for pull ... static: there before its players, pushed on, and gone with nginx.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(18);

relay_run($t, shutdown => '20s', near => 'push rtmp://127.0.0.1:%%PORT_8082%%; pull_linger 1s; '
	. 'pull rtmp://127.0.0.1:%%PORT_8081%%/there/remote name=local static;');

###############################################################################

# without a player

my $server = rtmp_server(port(8081));
my $origin = rtmp_accept($server);
is("$origin->{connect}{app}/$origin->{name}", 'there/remote', 'pulled at the start');

# pushed on when there is something

my $target = rtmp_server(port(8082));
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(1));
my $pushed = rtmp_accept($target);
is($pushed->{name}, 'local', 'pushed on');
is(($pushed->read_video() // {})->{payload}, video_header(), 'with its header');

# players come and go

my $v = near();
$v->play('local');
$origin->send_video(40, key_frame(2));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(2) }), 'played');
$v->close();
ok(!$origin->closed(1.5), 'it goes on without them');

# the origin breaks

$origin->close();
ok($pushed->closed(), 'the push ends with the source');
$origin = rtmp_accept($server);
is($origin->{name}, 'remote', 'pulled again');
$origin->send_video(0, video_header());
$pushed = rtmp_accept($target);
is($pushed->{name}, 'local', 'pushed again');

# somebody publishes, and leaves

my $p = near();
$p->publish('local');
ok($origin->closed(), 'a publisher here ends the pull');
ok(!$pushed->closed(0.5), 'but not the push, which goes on with the publisher');
$p->close();
$origin = rtmp_accept($server);
is($origin->{name}, 'remote', 'pulled when the publisher has left');

# a reload: the old worker leaves, the new one pulls

my ($old) = worker_pids($t);
kill 'HUP', $t->read_file('nginx.pid');
ok($origin->closed(), 'the old worker closes its pull');
$origin = rtmp_accept($server);
is($origin->{name}, 'remote', 'the new worker has its own');
ok(wait_for { !grep { $_ == $old } worker_pids($t) }, 'the old worker is gone');

# one with players stays

$v = near();
$v->play('local');
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(3));
$v->read_video();
kill 'HUP', $t->read_file('nginx.pid');
wait_for { (() = worker_pids($t)) == 2 };
$server->timeout(0.5);
ok(!$server->accept(), 'an old worker with players pulls for the new one');
$origin->send_video(40, key_frame(4));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(4) }), 'and plays on');
$v->close();
ok($origin->closed(), 'until they have left');
is((rtmp_accept($server) // {})->{name}, 'remote', 'then it is up to the new one');

###############################################################################
