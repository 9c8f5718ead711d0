#!/usr/bin/perl

# However many workers have players of a stream, it is pulled once.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(8);

# the origin is another server, whose access log tells who played
workers_run($t, 4, main => 'worker_shutdown_timeout 1s;', rtmp => <<'EOC', app => <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_1936%%;
        access_log %%TESTDIR%%/origin.log;
        application live {
            live on;
            cache_time 1s;
        }
    }
EOC
            pull rtmp://127.0.0.1:%%PORT_1936%%/live;
EOC

my $plays = sub { scalar grep { / PLAY / } split /\n/, $t->read_file('origin.log') };

###############################################################################

# nobody publishes at the origin yet
my @players = map { player('s') } 1 .. 20;

my $p = rtmp_connect(port(1936), 'live');
$p->publish('s');
is($p->status(), 'NetStream.Publish.Start', 'the origin has it');
$p->send_video(0, video_header());
$p->send_video(0, key_frame(0));

my $got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(0) }, 10) } @players;
is($got, 20, 'those who waited get it');
push @players, map { player('s') } 1 .. 20;
$p->send_video(40, key_frame(1));
$got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(1) }) } @players;
is($got, 40, 'so do those who come later');

is($plays->(), 0, 'the first pull is the only one');

# the worker that pulls for the others dies
$t->todo_alerts();
my ($giver) = keys %{inner_pulls($t)};
kill 'KILL', $giver;
my @alive;
ok(wait_for { @alive = grep { !$_->closed(0.01) } @players; @alive < 40 }, 'it dies');
my $begin = time();
if ($p->closed(0.2)) {
	$p = rtmp_connect(port(1936), 'live');
	$p->publish('s');
}
my %got;
for my $n (2 .. 50) {
	$p->send_video($n * 40, key_frame($n));
	for my $player (grep { !$got{$_} } @alive) {
		$got{$player} = 1 if $player->read_until(sub { $_[0]{type} == RTMP_VIDEO }, 0.02);
	}
	last if keys %got == @alive;
}
is(scalar keys %got, scalar @alive, 'the players of the others play on');
cmp_ok(time() - $begin, '<=', 3, 'soon');

$_->close() for @players;
ok(wait_for { !%{inner_pulls($t)} }, 'with the last player all pulls end');

###############################################################################
