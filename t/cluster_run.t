#!/usr/bin/perl

# scripts/run: a cluster on one machine, played from its second node; nothing of it is
# left when it ends.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->plan(9);

# what was built for the tests
my ($module) = ($ENV{TEST_NGINX_GLOBALS} // '') =~ /load_module\s+([^;\s]+)/
	or die "no load_module in TEST_NGINX_GLOBALS\n";
my $target = $ENV{CARGO_TARGET_DIR} // "$FindBin::Bin/../target";
my ($scheduler) = grep { -x }
	$ENV{TEST_OCLP_SCHEDULER} // (), map { "$target/$_/oclp-scheduler" } qw/ release debug /;
my ($nginx) = grep { -x } $Test::Nginx::NGINX, map { "$_/$Test::Nginx::NGINX" } split /:/, $ENV{PATH};
my @ports = map { port($_) } 29310, 29315, 29311, 29316, 29319;

# its files go where those of the test are
$ENV{CARGO_TARGET_DIR} = $t->testdir();
my @command = ("$FindBin::Bin/../scripts/run", '--no-install',
	'--module', $module, '--nginx', $nginx, '--scheduler', $scheduler,
	'--port', $ports[0], '--http-port', $ports[1], '--scheduler-port', $ports[4]);

###############################################################################

my $run = spawn($t, @command, '--check');
is($run->wait(60), 0, 'the demonstration succeeds');
my $said = $run->output();
my $came = qr/h264 aac, 1280x720, \d\d+ frames in 2 s, the first after \d+ ms/;
like($said, qr{playing rtmp://127.0.0.1:$ports[2]/live/demo: $came}, 'over RTMP');
like($said, qr{playing http://127.0.0.1:$ports[3]/live/demo.flv: $came}, 'over HTTP-FLV');
like($said, qr/has answered 302 to 1 pull/, 'through the scheduling server, with one pull for both');
unlike($said, qr/\e/, 'colours are for terminals');
is(still_there(), '', 'nothing is left');

# kept on air until it is told to end
$run = spawn($t, @command);
ok((wait_for { $run->output() =~ /Ctrl-C stops/ || $run->ended() } 30), 'ready');
is($run->stop('INT'), 0, 'ends when it is told to');
is(still_there(), '', 'nothing is left');

###############################################################################

# Processes that have to do with the files of this test, and ports that are open.
sub still_there {
	my @found;
	for my $file (glob '/proc/[0-9]*/cmdline') {
		my ($pid) = $file =~ /(\d+)/;
		open my $input, '<', $file or next;
		my $line = join ' ', split /\0/, do { local $/; <$input> // '' };
		push @found, "$pid $line" if $pid != $$ && index($line, $t->testdir()) >= 0;
	}
	push @found, "port $_" for grep { IO::Socket::INET->new(PeerAddr => "127.0.0.1:$_") } @ports;
	return join "\n", @found;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
