#!/usr/bin/perl

# Tests for relays from nginx to nginx that lead back to the first: of two and of three.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx::Cluster;
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::Relay qw/ wait_lines log_lines /;
use Test::Nginx::RTMP;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(10);
my $cluster = cluster($t, nodes => 0, schedulers => 0, own => \&conf);
$cluster->add_nodes(3, loopback => 1);

###############################################################################

# each pulls from the next one, and nobody has the stream

for my $loop (2, 3) {
	my $v = client(1, "pull$loop");
	$v->play('s');
	my ($line) = wait_lines($t, qr/relay of "pull$loop\/s" is refused/);
	like($line, qr/come through here before: a loop/, "a loop of pulls, of $loop");
	sleep(1);
	my @lines = log_lines($t, qr/relay of "pull$loop\/s" is refused/);
	cmp_ok(@lines, '<', 20, 'does not spin');

	my $p = client($loop, "pull$loop");
	$p->publish('s');
	is(seen($p, $v), 1, 'and is none when the last one has the stream');
	$_->close() for $p, $v;
}

# each pushes to the next one

for my $loop (2, 3) {
	my $p = client(1, "push$loop");
	$p->publish('s');
	my ($line) = wait_lines($t, qr/relay of "push$loop\/s" is refused/);
	like($line, qr/come through here before: a loop/, "a loop of pushes, of $loop");
	my $v = client($loop, "push$loop");
	$v->play('s');
	is(seen($p, $v), 1, 'the last one has the stream once');
	$_->close() for $p, $v;
}

###############################################################################

sub client {
	my ($number, $app) = @_;
	my $address = $cluster->address($number);
	return rtmp_connect(1935, $app, host => $address, tc_url => "rtmp://$address/$app");
}

# How often a frame of the publisher comes to the player.
sub seen {
	my ($p, $v) = @_;
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame(1));
	$p->send_video(40, key_frame(2));
	my $count = 0;
	while (my $message = $v->read_video()) {
		$count++ if $message->{payload} eq key_frame(1);
		last if $message->{payload} eq key_frame(2);
	}
	return $count;
}

sub conf {
	my ($cluster, $number) = @_;

	my $own = $cluster->address($number);
	my $applications = '';
	for my $loop (grep { $number <= $_ } 2, 3) {
		my $next = $cluster->address($number % $loop + 1);
		for my $relay (qw/ pull push /) {
			$applications .= <<"EOA";

        application $relay$loop {
            live on;
            cache_time 1s;
            $relay rtmp://$next;
        }
EOA
		}
	}
	return <<"EOC";
load_module by-the-harness;
worker_processes 1;
error_log logs/error.log info;
pid logs/nginx.pid;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:inner;

    server {
        listen $own:1935;
$applications    }
}
EOC
}

# the subs hold it, and it must end before the tests are counted
undef $cluster;
undef $t;

###############################################################################
