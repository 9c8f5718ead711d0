#!/usr/bin/perl

# Tests for the configurations of static relays in nginx-conf: they run as they
# are, but for their ports, and do what they say.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Media;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg');

# where to publish, and where to play
my %confs = (
	'static-push' => [1935, 'live', 1936, 'live'],
	'static-pull' => [1936, 'live', 1935, 'live'],
	'static-pull-http-flv' => [1936, 'core', 1935, 'edge'],
);

$t->plan(2 * keys %confs);

###############################################################################

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);

for my $conf (sort keys %confs) {
	my ($from, $published, $to, $played) = @{$confs{$conf}};
	run($conf);

	my $publisher = ffmpeg_publish($t, $file,
		'rtmp://127.0.0.1:' . port($from) . "/$published/s", loop => -1);
	my @got = frames($t, 'rtmp://127.0.0.1:' . port($to) . "/$played/s",
		frames => 40);
	is_run_of([hashes(0, @got)], [hashes(0, @source)], "$conf, video");
	is_run_of([hashes(1, @got)], [hashes(1, @source)], "$conf, audio");
	$publisher->stop();
	$t->stop();
}

###############################################################################

sub run {
	my ($conf) = @_;

	open my $input, '<', "../nginx-conf/$conf.conf" or die "no $conf.conf: $!\n";
	my $text = do { local $/; <$input> };
	$text =~ s/^(?:load_module|error_log|pid)\s.*\n//mg;
	$text =~ s/\b(1935|1936|11939)\b/%%PORT_$1%%/g;
	$text =~ s/listen (?=%%)/listen 127.0.0.1:/g;
	$t->write_file_expand('nginx.conf', "%%TEST_GLOBALS%%\ndaemon off;\n"
		. "worker_shutdown_timeout 1s;\n"
		. $text =~ s/^rtmp \{/rtmp {\n    rtmp_auto_pull_port unix:%%TESTDIR%%\/inner;/mr
		=~ s/^http \{/http {\n%%TEST_GLOBALS_HTTP%%/mr);
	$t->run();
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
