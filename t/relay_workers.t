#!/usr/bin/perl

# Tests for relays of several workers: one pull for all of them, one push for a
# publisher, and a static pull that makes way for a publisher of any worker.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::RTMP;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $ROUNDS = 6;
my $PLAYERS = 20;

my $t = Test::Nginx->new()->plan(5 + 3 * $ROUNDS);

relay_run($t, workers => 3, near => <<'EOC');
            pull rtmp://127.0.0.1:%%PORT_8081%%;
        }

        application kept {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_8082%%/there name=s static;
            push rtmp://127.0.0.1:%%PORT_8083%%;
EOC

###############################################################################

# players of all workers, one pull

my $server = rtmp_server(port(8081));
my @players = map { near() } 1 .. $PLAYERS;
$_->play('s') for @players;
my $origin = rtmp_accept($server);
is($origin->{name}, 's', 'a pull');
$origin->send_video(0, video_header());
$origin->send_video(40 * $_, key_frame($_)) for 1 .. 3;
my $fed = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(3) }) } @players;
is($fed, $PLAYERS, 'all players are fed');
$server->timeout(0.3);
ok(!$server->accept(), 'by one pull');

# the worker that pulls has no player any more, others have

$_->close() for splice @players, 0, $PLAYERS / 2;
$origin->send_video(200, key_frame(4));
$fed = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(4) }) } @players;
is($fed, $PLAYERS / 2, 'those who stay are fed');
$_->close() for @players;
ok($origin->closed(), 'the pull ends with the last');

# a publisher of any worker wins over a static pull, which comes back

my $kept = rtmp_server(port(8082));
my $target = rtmp_server(port(8083));
for my $round (1 .. $ROUNDS) {
	$origin = rtmp_accept($kept);
	is($origin->{name}, 's', "round $round: pulled");
	my $p = near('kept');
	$p->publish('s');
	ok($origin->closed(), "round $round: not while somebody publishes");
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame($round));
	my $pushed = rtmp_accept($target);
	ok($pushed->read_until(sub { $_[0]{payload} eq key_frame($round) }),
		"round $round: the publisher is pushed");
	$p->close();
	$pushed->closed();
}

###############################################################################
