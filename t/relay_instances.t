#!/usr/bin/perl

# Tests for relays between three nginx, on machines of their own (network namespaces) and
# on one: what players of the others get is what was published to the first.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx::Cluster;
use Test::Nginx;
use Test::Nginx::Media;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->plan(29);
my $cluster = cluster($t, nodes => 3, schedulers => 0, own => \&conf);

###############################################################################

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);

relays('machines', 1, 2, 3);
$cluster->add_nodes(3, loopback => 1);
relays('loopback', 4, 5, 6);

my @pulls = grep { m{pull of "live/s" .*: established} } split /\n/, $t->read_file('error.log');
is(scalar @pulls, 4, 'one pull a nginx, also for players of another that pulls from it');

###############################################################################

# Publishes to A, plays from B and C.
sub relays {
	my ($network, $a, $b, $c) = @_;

	my @publishers = map { ffmpeg_publish($t, $file, url($a, $_, 's'), loop => -1) } qw/ live pushed /;
	my @plays = (
		[$b, 'taken', 'push, B'], [$c, 'taken', 'push, C'],
		[$b, 'flv', 'pull over HTTP-FLV, B'], [$c, 'flv', 'pull over HTTP-FLV, C'],
		[$b, 'live', 'pull over RTMP, B'], [$c, 'live', 'pull over RTMP, C'],
		[$c, 'chain', 'pull of a pull over RTMP, C'],
	);
	my @players = map { ffmpeg_play($t, url(@$_[0, 1], 's'), frames => 40) } @plays;
	for my $i (0 .. $#plays) {
		my @got = frames($t, $players[$i]);
		is_run_of([hashes(0, @got)], [hashes(0, @source)], "$network, $plays[$i][2], video");
		is_run_of([hashes(1, @got)], [hashes(1, @source)], "$network, $plays[$i][2], audio");
	}
	$_->stop() for @publishers;
}

sub url { 'rtmp://' . $cluster->address($_[0]) . "/$_[1]/$_[2]" }

# The configuration of a node: A is the first of three, then come B and C.
sub conf {
	my ($cluster, $number) = @_;

	my $own = $cluster->address($number);
	my $first = $number - ($number - 1) % 3;
	my ($a, $b, $c) = map { $cluster->address($first + $_) } 0 .. 2;
	my $live = "live on;\n            cache_time 1s;";
	my $applications = $number == $first ? <<"EOA" : <<"EOB";
        application live {
            $live
        }

        application pushed {
            $live
            push rtmp://$b/taken;
            push rtmp://$c/taken;
        }
EOA
        application taken {
            $live
        }

        application live {
            $live
            pull rtmp://$a;
        }

        application flv {
            $live
            pull http://$a:8080/live;
        }

        application chain {
            $live
            pull rtmp://$b/live;
        }
EOB
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

$applications
    }
}

http {
    server {
        listen $own:8080;

        location / {
            flv_live $own:1935;
        }
    }
}
EOC
}

# the subs hold it, and it must end before the tests are counted
undef $cluster;
undef $t;

###############################################################################
