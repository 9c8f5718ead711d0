#!/usr/bin/perl

# "publish_conflict replace" over several workers: one publisher is left,
# whatever workers they came to, and every player gets it.

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

my $t = Test::Nginx->new()->plan(6);

workers_run($t, 4, app => 'publish_conflict replace;',
	server => 'application gone { live on; publish_conflict replace; idle_streams off; }');

###############################################################################

for my $app ('live', 'gone') {
	my $at = sub {
		my ($suits) = @_;
		for (1 .. 200) {
			my $client = rtmp_connect(port(1935), $app);
			return $client if $suits->(worker_of($t, $client) // 0);
		}
		die "no client came to the worker\n";
	};
	my $first = $at->(sub { 1 });
	my $worker = worker_of($t, $first);
	$first->publish('s');
	$first->send_video(0, key_frame(1));
	# beside the first one, beside the second one, and elsewhere
	my @players = map { my $n = $_; $at->(sub { $n ? $_[0] != $worker : $_[0] == $worker }) } 0, 1, 1, 1;
	$_->play('s') for @players;
	$first->send_video(40, key_frame(2));
	$_->read_until(sub { $_[0]{payload} eq key_frame(2) }) for @players;

	my $second = $at->(sub { $_[0] != $worker });
	is($second->publish('s'), 'NetStream.Publish.Start', "$app: a publisher at another worker");
	is($first->read_status(), 'NetStream.Publish.BadName', "$app: the first one is told");
	my $got = 0;
	for my $v (@players) {
		# which are some turns of two event loops away
		for my $n (3 .. 400) {
			$second->send_video($n * 40, key_frame($n));
			last if $got += !!$v->read_until(sub { $_[0]{payload} eq key_frame($n) }, 0.1);
		}
	}
	is($got, @players, "$app: its players stay, and see the second one");
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
