#!/usr/bin/perl

# A pull that is not established yet speaks for somebody who is still there.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @stages = ('handshake', 'connect', 'play', '');

my $t = Test::Nginx->new()->plan(3 * @stages + 8);

relay_run($t, near => <<'EOC');
            pull rtmp://127.0.0.1:%%PORT_8081%%;
        }

        application asked {
            live on;
            cache_time 1s;
            oclp_pull http://127.0.0.1:%%PORT_8082%%/pull args=$args timeout=4s stage=start,done;
EOC

my $server = rtmp_server(port(8081));
my $oclp = oclp_server($t, port(8082));

###############################################################################

# the first leaves, however far the origin has come

for my $stage (@stages) {
	my $what = $stage || 'consent';
	my @players = map { near() } 1 .. 2;
	$players[0]->play("$what?t=1");
	my $peer = rtmp_accept($server, until => $stage);
	$players[1]->play("$what?t=2");
	$players[0]->close();
	# which is no RTMP yet
	$peer->fill(1e6) && ($peer->{in} = '') if $stage eq 'handshake';
	ok($peer->closed(), "$what: the pull ends with the player that it is for");
	$peer = rtmp_accept($server);
	is($peer->{name}, "$what?t=2", "$what: and begins anew for the other");
	$peer->send_video(0, $_) for video_header(), key_frame(1);
	ok($players[1]->read_video(), "$what: which plays");
	$players[1]->close();
}

# established, it is for all

my @players = map { near() } 1 .. 2;
$players[0]->play('all?t=1');
my $peer = rtmp_accept($server);
$peer->send_video(0, $_) for video_header(), key_frame(1);
$players[0]->read_video();
$players[1]->play('all?t=2');
$players[0]->close();
ok(!$peer->closed(0.5), 'an established pull goes on');
$players[1]->close();

# while a scheduler is asked

$oclp->answer('pull start', { hang => 1 }, { status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8081) . '/there/x' ] });
@players = map { near('asked') } 1 .. 2;
$players[0]->play('s?t=1');
$oclp->wait_requests('pull start', 1);
$players[1]->play('s?t=2');
$players[0]->close();
$peer = rtmp_accept($server);
is($peer->{name}, 'x?t=2', 'the scheduler is asked for the other');
is(join(' ', map { $_->{args} } $oclp->requests('pull start')), 't=1 t=2', 'with what it says');
$peer->send_video(0, $_) for video_header(), key_frame(1);
ok($players[1]->read_video(), 'which plays');
$players[1]->close();
$oclp->wait_requests('pull done', 1);

# a scheduler that wants no pull for one

$oclp->answer('pull start', { status => 200 }, { status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8081) . '/there/x' ] });
@players = map { near('asked') } 1 .. 2;
$players[0]->play('give-up?t=1');
$oclp->wait_requests('pull start', 3);
$players[1]->play('give-up?t=2');
$peer = rtmp_accept($server);
is($peer->{name}, 'x?t=2', '200 for one: asked for the next');
$peer->send_video(0, $_) for video_header(), key_frame(1);
ok($_->read_video(), 'and played') for @players;
$_->close() for @players;

# and then for one who waits, when the other has left

$oclp->answer('pull start', { status => 200 }, { status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8081) . '/there/x' ] });
$oclp->answer('pull start', { status => 200, delay => 0.5 }, { status => 302,
	headers => [ Location => 'rtmp://127.0.0.1:' . port(8081) . '/there/x' ] });
@players = map { near('asked') } 1 .. 2;
$_->play('left?t=same') for @players;
my $count = 5;
wait_for { grep { $_->{name} eq 'left' } $oclp->requests('pull start') };
select undef, undef, undef, 1;
$players[0]->close();
$peer = rtmp_accept($server);
is(($peer // {})->{name}, 'x?t=same', '200, and who was asked for has left: asked for who waits');

###############################################################################
