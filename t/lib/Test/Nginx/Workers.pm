package Test::Nginx::Workers;

# A server of several workers, and what can be seen of what they do for each
# other.

use warnings;
use strict;

use base qw/ Exporter /;
our @EXPORT = (qw/ workers_run inner_pulls /);

use Test::Nginx;
use Test::Nginx::Live;

push @EXPORT, @Test::Nginx::Live::EXPORT;

# Starts nginx with so many workers, each with its own listening socket; the
# options are more lines for the main, rtmp, server and application blocks.
sub workers_run {
	my ($t, $workers, %options) = @_;
	my ($main, $rtmp, $server, $app) = @options{qw/ main rtmp server app /};
	$main //= 'worker_shutdown_timeout 1s;';
	$_ //= '' for $rtmp, $server, $app;

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_processes $workers;
$main

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    $rtmp

    server {
        listen 127.0.0.1:%%PORT_1935%% reuseport;
        $server

        application live {
            live on;
            cache_time 1s;
            $app
        }
    }
}

EOC
	$t->run();
}

# How many streams workers take from each other now: by process id, those that
# the worker gives.
sub inner_pulls {
	my ($t) = @_;
	my $prefix = quotemeta($t->testdir() . '/inner.');
	my %pulls;
	open my $unix, '<', '/proc/net/unix' or die "no /proc/net/unix: $!\n";
	while (<$unix>) {
		# type stream, state connected
		$pulls{$1}++ if /^\S+ \S+ \S+ \S+ 0001 03 +\d+ $prefix(\d+)$/;
	}
	return \%pulls;
}

1;
