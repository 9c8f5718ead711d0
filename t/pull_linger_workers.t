#!/usr/bin/perl

# With pull_linger, a pull outlives the last player of all workers, not of the worker that
# pulls.

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
use Time::HiRes qw/ time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $LINGER = 1;

my $t = Test::Nginx->new()->plan(9);

workers_run($t, 3, app => <<'EOC');
            pull rtmp://127.0.0.1:%%PORT_8081%%/live;
            # nothing below takes as long
            pull_linger 10m;
        }

        application short {
            live on;
            pull rtmp://127.0.0.1:%%PORT_8081%%/live;
            cache_time 1s;
            pull_linger 1s;
EOC

###############################################################################

my $server = rtmp_server(port(8081));
my $first = player('s');
my ($origin, $home) = pulled();
ok(got($first, 1), 'pulled');

# players of other workers come when the last has left, again and again

$first->close();
my $other = elsewhere('live');
ok(got($other, 1), 'a player of another worker finds the pull');
$other->close();
$other = elsewhere('live');
ok(got($other, 1), 'and so does the next');
$origin->send_video(40, key_frame(2));
ok(got($other, 2), 'and goes on with it');
ok(!$origin->closed(0), 'it is one pull');
$other->close();

# the worker that pulls has lost its player for longer than that

$first = rtmp_connect(port(1935), 'short');
$first->play('s');
($origin, $home) = pulled();
$other = elsewhere('short');
ok(got($other, 1), 'a player of another worker has joined');
$first->close();
ok(!$origin->closed(2 * $LINGER), 'the pull goes on with it');
my $left = time();
$other->close();
ok($origin->closed(), 'and ends when it has left');
cmp_ok(time() - $left, '>', 0.9 * $LINGER, 'and the time is over');

###############################################################################

# The pull that has come, with a frame, and its worker.
sub pulled {
	my $origin = rtmp_accept($server);
	$origin->send_video(0, video_header());
	$origin->send_video(0, key_frame(1));
	return ($origin, worker_of($t, $origin));
}

# A player of a worker that does not pull.
sub elsewhere {
	my ($app) = @_;
	while (1) {
		my $client = rtmp_connect(port(1935), $app);
		next if worker_of($t, $client) == $home;
		$client->play('s');
		return $client;
	}
}

sub got {
	my ($player, $n) = @_;
	return $player->read_until(sub { $_[0]{payload} eq key_frame($n) });
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
