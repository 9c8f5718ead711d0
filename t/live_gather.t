#!/usr/bin/perl

# While a stream gathers messages for one write, what its publisher sends is read
# once a write, without waking the worker for each message; and nothing is lost or
# late by that, whatever the publisher does next.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
# messages of a stream, and seconds between two
my ($MESSAGES, $INTERVAL) = (200, 0.005);
# seconds for a message: a few windows, and less than anything that is tried again
my $SOON = 0.2 * $SLOW;

my $t = Test::Nginx->new()->plan(14);

live_run($t, app => 'merge_window 30ms;');

###############################################################################

my $n = 0;
my $p = publisher('s');
my $v = player('s');
$p->send_video(0, key_frame(0));
$v->read_video();

my ($worker) = worker_pids($t);
my $woken = woken($worker);
stream();
my @got = map { $v->read_video()->{payload} } 1 .. $MESSAGES;
is_deeply(\@got, [map { inter_frame($_) } 1 .. $MESSAGES], 'every message comes, in order');
$woken = woken($worker) - $woken;
note("the worker was woken $woken times by $MESSAGES messages");
cmp_ok($woken, '<', $MESSAGES / 2, 'a worker is not woken by each message');

# messages that are not like those before

$p->send_video($n, inter_frame(++$n));
ok(soon($v, inter_frame($n)), 'one right behind');
sleep(0.3);
$p->send_video($n, inter_frame(++$n));
ok(soon($v, inter_frame($n)), 'one after a silence');
stream();
ok($v->read_until(sub { $_[0]{payload} eq inter_frame($n) }), 'many again');

my $large = key_frame(++$n) . 'l' x 300_000;
$p->send_video($n, $large);
ok(soon($v, $large), 'one that is larger than what may wait');
stream();
my $bytes = $p->message(RTMP_VIDEO, $n, $p->{stream}, inter_frame(++$n));
$p->send_raw(substr $bytes, 0, 50);
sleep(0.1);
$p->send_raw(substr $bytes, 50);
ok(soon($v, inter_frame($n)), 'one in two pieces');

# commands

stream();
my $begin = time();
$p->result($p->command('createStream', undef));
cmp_ok(time() - $begin, '<', $SOON, 'a command is answered');
stream();
$p->send_command($p->{stream}, 'deleteStream', 0, undef, $p->{stream});
$p->create_stream();
is($p->publish('other'), 'NetStream.Publish.Start', 'the publisher goes over to another stream');
my $w = player('other');
$p->send_video(0, key_frame(++$n));
ok(soon($w, key_frame($n)), 'which is played');
stream();
ok($w->read_until(sub { $_[0]{payload} eq inter_frame($n) }), 'many of that');

# the end

my $q = publisher('s');
$q->send_video(0, key_frame(++$n));
ok(soon($v, key_frame($n)), 'another publisher comes to the first');
stream($q);
$q->send_video($n, inter_frame(++$n));
$q->close();
ok(soon($v, inter_frame($n)), 'the last message before the end');
is(publisher('s')->status(), 'NetStream.Publish.Start', 'at once there is room for the next');

###############################################################################

# Many small messages, one by one.
sub stream {
	my $publisher = $_[0] // $p;
	for (1 .. $MESSAGES) {
		$publisher->send_video($n * 5, inter_frame(++$n));
		sleep($INTERVAL);
	}
}

sub soon {
	my ($player, $frame) = @_;
	return $player->read_until(sub { $_[0]{payload} eq $frame }, $SOON);
}

# How often a process went to sleep.
sub woken {
	my ($pid) = @_;
	open my $status, '<', "/proc/$pid/status" or die "no status of $pid: $!\n";
	my ($times) = map { /^voluntary_ctxt_switches:\s+(\d+)/ } <$status>;
	return $times;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
