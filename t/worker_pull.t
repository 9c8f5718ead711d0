#!/usr/bin/perl

# However many workers have players of a stream, it is pulled once, and shared by one
# connection for each of the others that has players.

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

my $t = Test::Nginx->new()->has_daemon('ss')->plan(9);

workers_run($t, 4, app => 'pull rtmp://127.0.0.1:%%PORT_8081%%/live;');

###############################################################################

# nobody publishes at the origin yet, which takes its time

my $server = rtmp_server(port(8081));
my @players = map { player('s') } 1 .. 20;
my $origin = rtmp_accept($server);
is($origin->{name}, 's', 'pulled');
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(0));
is(fed(key_frame(0), @players), 20, 'those who waited get it');

push @players, map { player('s') } 1 .. 20;
$origin->send_video(40, key_frame(1));
is(fed(key_frame(1), @players), 40, 'so do those who come later');

my $home = worker_of($t, $origin);
is_deeply([keys %{inner_pulls($t)}], [$home], 'one worker pulls for all');
my %takers = map { worker_of($t, $_) => 1 } @players;
delete $takers{$home};
is_deeply(inner_takers($t), \%takers, 'each other worker with a player takes it from there once');

# those of the worker that pulls leave

my @stay = grep { worker_of($t, $_) != $home } @players;
worker_of($t, $_) == $home && $_->close() for @players;
$origin->send_video(80, key_frame(2));
is(fed(key_frame(2), @stay), scalar @stay, 'it pulls on without a player of its own');

$server->timeout(0.3);
ok(!$server->accept(), 'the origin has seen one connection');

$_->close() for @stay;
ok($origin->closed(), 'which ends with the last player');
ok(wait_for { !%{inner_takers($t)} }, 'as do those between the workers');

###############################################################################

# How many of the players get this frame.
sub fed {
	my ($frame, @players) = @_;
	return scalar grep { $_->read_until(sub { $_[0]{payload} eq $frame }) } @players;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
