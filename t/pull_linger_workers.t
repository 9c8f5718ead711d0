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

my $t = Test::Nginx->new()->plan(8);

workers_run($t, 3, app => 'pull rtmp://127.0.0.1:%%PORT_8081%%/live; pull_linger 6s;');

###############################################################################

my $server = rtmp_server(port(8081));
my $first = player('s');
my $origin = rtmp_accept($server);
$origin->send_video(0, video_header());
$origin->send_video(0, key_frame(1));
ok(got($first, 1), 'pulled');
my $home = worker_of($t, $origin);

# one of another worker comes when the last has left

$first->close();
my $other = elsewhere();
ok(got($other, 1), 'a player of another worker finds the pull');
ok(!$origin->closed(6.5), 'which goes on with it');
$origin->send_video(40, key_frame(2));
ok(got($other, 2), 'and so does the player');

# it leaves

my $began = time();
$other->close();
ok(!$origin->closed(0.8), 'the pull outlives it');
$other = elsewhere();
ok(got($other, 2), 'for whoever comes again');
$began = time();
$other->close();
ok($origin->closed(), 'and ends');
my $took = time() - $began;
cmp_ok($took, '>', 5.9, 'when the time is over');

###############################################################################

# A player of a worker that does not pull.
sub elsewhere {
	while (1) {
		my $client = rtmp_connect(port(1935), 'live');
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
