#!/usr/bin/perl

# The scheduler's answer moves a pull: one origin is killed, the next answer names
# another, and the players, who stay connected, see frames again within a second.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use POSIX ();
use Time::HiRes qw/ sleep time /;
use Test::Nginx::FLV;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# seconds from the death of an origin to the next frame
my $AGAIN = 1;

my $t = Test::Nginx->new()->plan(16 + 2 * 2);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8086;

        location / {
            flv_live 127.0.0.1:8080;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;

        application edge {
            live on;
            cache_time 1s;
            oclp_pull http://127.0.0.1:8081/pull stage=start,update,done;
        }
    }
}

EOC

# origins, by RTMP and by HTTP-FLV

my @origins = map {
	my $n = $_;
	my $origin = Test::Nginx->new();
	my ($rtmp, $http) = (8082 + 2 * $n, 8083 + 2 * $n);
	$origin->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:$http;

        location / {
            flv_live 127.0.0.1:$rtmp;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:$rtmp;

        application core {
            live on;
            cache_time 1s;
        }
    }
}

EOC
	$origin->run();
	{ nginx => $origin, port => port($rtmp), rtmp => 'rtmp://127.0.0.1:' . port($rtmp) . '/core',
		http => 'http://127.0.0.1:' . port($http) . '/core' };
} 0 .. 1;

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my (@players, $flv);
$_->{feeder} = feed($_->{port}) for @origins;

to($origins[0]{rtmp});
@players = map { player() } 1 .. 3;
$flv = http_flv(port(8086), '/edge/name');
ok(frame($_), 'a frame') for @players;
ok($flv->read_tag(), 'a tag');

# killed: the scheduler is asked again, and names the other, which speaks HTTP-FLV

to($origins[1]{http});
my $killed = time();
destroy($origins[0]);
for my $p (@players) {
	my $late = again($p, $killed);
	cmp_ok($late, '<', $AGAIN, 'frames again');
}
my ($starts, $dones) = (scalar($oclp->requests('pull start')), scalar($oclp->requests('pull done')));
is($starts, 2, 'asked once more');
is($dones, 1, 'the first relay is done');
my @events = grep { $_ ne 'pull update' } $oclp->events('pull');
is("@events", 'pull start pull done pull start', 'in order');

# and back: the origin is there again, at the same address

unlink $origins[0]{nginx}->testdir() . '/nginx.pid';
$origins[0]{nginx}->run();
$origins[0]{feeder} = feed($origins[0]{port});
to($origins[0]{rtmp});
$killed = time();
destroy($origins[1]);
for my $p (@players) {
	cmp_ok(again($p, $killed), '<', $AGAIN, 'frames again');
}

# an HTTP-FLV player has seen both moves, and time never ran back

my ($last, $back) = (0, 0);
my $until = time() + 0.3;
while (time() < $until && (my $tag = $flv->read_tag())) {
	next if $tag->{type} != FLV_VIDEO;
	$back++ if $tag->{timestamp} < $last;
	$last = $tag->{timestamp};
}
cmp_ok($last, '>', 0, 'the HTTP-FLV player stays, too');
is($back, 0, 'timestamps go on');

$_->close() for @players;
$flv->close();
delete $_->{feeder} for @origins;
wait_for {
	(() = $oclp->requests('pull done')) == (() = $oclp->requests('pull start'));
};
is(scalar($oclp->requests('pull done')), scalar($oclp->requests('pull start')),
	'a done for each start');

###############################################################################

sub to {
	my ($url) = @_;
	$oclp->answer('pull start', status => 302, headers => [ Location => "$url/name" ]);
}

sub player {
	my $p = rtmp_connect(port(8080), 'edge');
	$p->play('name');
	return $p;
}

sub frame {
	my ($p) = @_;
	return $p->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && substr($_[0]{payload}, 1, 1) eq "\x01"
	});
}

# When, after that time, the player gets a frame that was made after it.
sub again {
	my ($p, $killed) = @_;
	my $message = $p->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && length($_[0]{payload}) == 13
			&& unpack('d', substr($_[0]{payload}, 5)) > $killed
	});
	return $message ? unpack('d', substr($message->{payload}, 5)) - $killed : 'never';
}

# Publishes key frames with the time in them, in a process of its own.
sub feed {
	my ($port) = @_;
	my $pid = fork() // die "cannot fork: $!\n";
	if ($pid == 0) {
		# those that are open now are the test's, to be closed by it
		$_->close() for grep { $_ } @players, $flv;
		my $p = rtmp_connect($port, 'core');
		$p->publish('name');
		$p->send_video(0, "\x17\x00\0\0\0header");
		for (my $n = 0; $p->send_video($n * 40, "\x17\x01\0\0\0" . pack('d', time())); $n++) {
			sleep(0.04);
		}
		POSIX::_exit(0);
	}
	return bless { owner => $$, pid => $pid, log => '/dev/null' }, 'Test::Nginx::Process';
}

# Kills an origin as if its machine's power were cut, but for the resets that the kernel sends.
sub destroy {
	my ($origin) = @_;
	my ($master) = $origin->{nginx}->read_file('nginx.pid') =~ /(\d+)/;
	my @workers = worker_pids($origin->{nginx});
	kill 'KILL', $master, @workers;
	wait_for { !kill 0, @workers };
	delete $origin->{feeder};
}

###############################################################################
