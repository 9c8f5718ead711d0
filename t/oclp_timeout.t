#!/usr/bin/perl

# A callback server that never answers: clients are decided about at the timeout,
# and nobody else notices.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Socket qw/ AF_UNIX PF_UNSPEC SOCK_STREAM /;
use Time::HiRes qw/ sleep time /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $CLIENTS = 200;
# seconds between frames, and that one may take
my $FRAME = 0.01;
# to wait for one answer would take a second
my $GAP = 0.5 * ($ENV{TEST_NGINX_SLOW} || 1);

my $t = Test::Nginx->new()->plan(9);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    server {
        listen 127.0.0.1:8080;
        live on;

        application quiet {
        }

        application open {
            oclp_play http://127.0.0.1:8081/p timeout=1s stage=start,update,done update=100ms;
        }

        application closed {
            oclp_fail closed;
            oclp_play http://127.0.0.1:8081/p timeout=1s;
        }

        application other {
            oclp_play http://127.0.0.1:8082/p timeout=1s;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$oclp->answer('*', hang => 1);
my $other = oclp_server($t, port(8082));
$t->run();

###############################################################################

# a stream that has nothing to do with it

my $publisher = rtmp_connect(port(8080), 'quiet');
$publisher->publish('name');
my $player = rtmp_connect(port(8080), 'quiet');
$player->play('name');
my ($feeder, $watcher) = (feed($publisher), watch($player));

# what the machine itself makes late, without nginx
socketpair(my $near, my $far, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "no sockets: $!\n";
my ($pulse, $control) = (feed($near), watch($far));

# many ask, and each is decided about a second later

my @players = map {
	my $p = rtmp_connect(port(8080), $_ % 2 ? 'open' : 'closed');
	$p->create_stream();
	$p;
} 1 .. $CLIENTS;

my $began = time();
for (@players) {
	$_->send_command($_->{stream}, 'play', 5, undef, 'name');
	# not a burst: it is the waiting that must not be felt
	sleep(0.002);
}

# others are asked about meanwhile, at a server that answers
my $elsewhere = rtmp_connect(port(8080), 'other');
my $asked = time();
is($elsewhere->play('name'), 'NetStream.Play.Start', 'another server answers');
cmp_ok(time() - $asked, '<', 0.9 * ($ENV{TEST_NGINX_SLOW} || 1), 'and at once');

my %codes;
$codes{$_->read_status()}++ for @players;
my $took = time() - $began;
is_deeply(\%codes, { 'NetStream.Play.Start' => $CLIENTS / 2,
	'NetStream.Play.Forbidden' => $CLIENTS / 2 }, 'decided as oclp_fail says');
cmp_ok($took, '>=', 0.95, 'not before the timeout');
# one after the other would take minutes
cmp_ok($took, '<', 30, 'and soon after it');

# those who were let in without an answer leave, and more come and go

$_->abort() for splice @players, 0, $CLIENTS / 2;
for (1 .. 50) {
	my $p = rtmp_connect(port(8080), 'open');
	$p->create_stream();
	$p->send_command($p->{stream}, 'play', 5, undef, 'name');
	$p->abort();
}

my ($frames, $worst, $gap) = seen($watcher);
my (undef, $control_worst, $control_gap) = seen($control);
kill 'TERM', $_->pid() for $feeder, $pulse;
cmp_ok($frames, '>', 100, 'frames of another stream');
cmp_ok($worst, '<', $GAP + $control_worst, 'none of them was late');
cmp_ok($gap, '<', $GAP + $control_gap, 'nor was there a gap between two');
note(sprintf '%d frames; late by %.1f ms at most, gap %.1f ms; without nginx %.1f and %.1f ms', $frames,
	map { $_ * 1000 } $worst, $gap, $control_worst, $control_gap);

is(scalar($oclp->requests('play update')), 0, 'no updates');

###############################################################################

# Sends a frame again and again, with the time in it: to nginx, or into a socket.
sub feed {
	my ($to) = @_;
	return spawn_sub($t, sub {
		my $due = time();
		for (my $n = 0; ; $n++) {
			my $now = pack('d', time());
			ref $to eq 'GLOB' ? syswrite($to, $now)
				: $to->send_video($n * 10, "\x17\x01\0\0\0$now");
			$due += $FRAME;
			sleep($due - time()) if $due > time();
		}
	});
}

# Notes how many frames come, how long the slowest takes, and the longest time between two.
sub watch {
	my ($from) = @_;
	return spawn_sub($t, sub {
		my ($n, $worst, $gap, $over) = (0, 0, 0, 0);
		my $last;
		local $SIG{TERM} = sub { $over = 1 };
		while (!$over) {
			my $sent;
			if (ref $from eq 'GLOB') {
				sysread($from, $sent, 8) or last;
			} else {
				my $message = $from->read_media(1) or last;
				$sent = substr($message->{payload}, 5);
			}
			next if length($sent) != 8;
			my $now = time();
			my $late = $now - unpack('d', $sent);
			$worst = $late if $late > $worst;
			$gap = $now - $last if defined $last && $now - $last > $gap;
			$last = $now;
			$n++;
		}
		print "$n $worst $gap\n";
	});
}

# What a watcher has seen when it is told to end.
sub seen {
	my ($watcher) = @_;
	kill 'TERM', $watcher->pid();
	$watcher->wait();
	return split ' ', $watcher->output();
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
