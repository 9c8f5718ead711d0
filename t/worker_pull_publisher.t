#!/usr/bin/perl

# A publisher who comes to a worker that takes the stream from another takes its
# place: neither does that worker go on taking it, nor do the two of them keep each
# other, and the pull from the origin ends.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay qw/ rtmp_server rtmp_accept /;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ss')->plan(14);

workers_run($t, 2, app => 'pull rtmp://127.0.0.1:%%PORT_8081%%/live;');

my $server = rtmp_server(port(8081));

###############################################################################

# the worker that pulls has no player left

my ($a, $b, $origin) = pulled('left');
my ($home, $other) = map { worker_of($t, $_) } $a, $b;
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(0));
is(fed(key_frame(0), $a, $b), 2, 'both workers play the pull');
$a->close();
is_deeply(inner_pulls($t), { $home => 1 }, 'one from the other');

my $p = publisher_at($other, 'left');
$p->send_video(0, video_header('p'));
$p->send_video(0, key_frame(1));
is(fed(key_frame(1), $b), 1, 'a publisher comes to the other');
ok(wait_for { !%{inner_pulls($t)} }, 'it is not taken from the first any more');
ok($origin->closed(), 'which ends its pull');
$p->send_video(40, inter_frame(2));
is(fed(inter_frame(2), $b), 1, 'the publisher plays on');
$_->close() for $b, $p;

# it has one, and the publisher comes, says nothing and leaves

($a, $b, $origin) = pulled('silent');
$p = publisher_at(worker_of($t, $b), 'silent');
ok(wait_for { inner_pulls($t)->{worker_of($t, $b)} }, 'the first worker waits for the publisher');
ok(wait_for { !inner_pulls($t)->{worker_of($t, $a)} }, 'the other does not take it from the first');
$p->close();
ok(wait_for { inner_pulls($t)->{worker_of($t, $a)} }, 'until that has left');
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(3));
is(fed(key_frame(3), $a, $b), 2, 'and the pull goes on');
$_->close() for $a, $b;
ok($origin->closed(), 'and ends with the last player');
ok(wait_for { !%{inner_pulls($t)} }, 'as do those between the workers');

# the same, and all leave at once

($a, $b, $origin) = pulled('all');
$p = publisher_at(worker_of($t, $b), 'all');
$_->close() for $a, $b, $p;
ok($origin->closed(), 'a pull ends when all leave at once');
ok(wait_for { !%{inner_pulls($t)} }, 'and so do those between the workers');

###############################################################################

# Two players of different workers, of which the first pulls, and the origin's end.
sub pulled {
	my ($name) = @_;
	my $first = player($name);
	my $origin = rtmp_accept($server);
	my $worker = worker_of($t, $first);
	my $second = client_at($t, sub { $_[0] != $worker });
	$second->play($name);
	wait_for { inner_pulls($t)->{$worker} };
	return ($first, $second, $origin);
}

sub publisher_at {
	my ($worker, $name) = @_;
	my $client = client_at($t, sub { $_[0] == $worker });
	$client->publish($name);
	return $client;
}

# How many of the players get this frame.
sub fed {
	my ($frame, @players) = @_;
	return scalar grep { $_->read_until(sub { $_[0]{payload} eq $frame }) } @players;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
