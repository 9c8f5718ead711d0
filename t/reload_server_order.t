#!/usr/bin/perl

# A reload that changes the order of servers and of what they listen on, their names, or their number
# hides no stream. What no server goes on with is named in a warning.

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

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(7);

# what each server listens on, and its names
my @ports = (port(8081), port(8082), port(8083));
my ($first, $second, $third) = map { "listen 127.0.0.1:%%PORT_$_%%;" } 8081 .. 8083;

configure("$first server_name a.test;", "$first $second server_name b.test;", $third);
$t->run();

###############################################################################

# a stream of each server, by a domain and a port that it has in each configuration
my %streams = (a => [0, 'a.test'], b => [1, 'b.test'], c => [2, 'c.test']);
my %publishers = map { $_ => client($_, 'publish') } keys %streams;
my $frame = 0;

is(changed("$third server_name www.c.test;", "$second $first server_name b.test;",
	"$first server_name a.test;"), '3 played, 3 taken', 'another order, and a name for one that had none');
is(changed("$first server_name new.test;", "$second server_name www.b.test b.test;",
	"$first $second server_name www.a.test a.test;", "$third"),
	'3 played, 3 taken', 'one more server, and another first name for all');
my @before = warnings_of();
is("@before", '', 'no warning so far');
is(changed("$first server_name c.test; $second $third", "$first server_name a.test;",
	"$second server_name b.test;"), '3 played, 3 taken', 'a name moves');

is(changed("$first $second server_name a.test;", $third), '2 played, 2 taken', 'one server less');
my @gone = warnings_of();
like("@gone", qr/no server goes on with the streams of "b\.test of 127\.0\.0\.1:$ports[1]"/,
	'is named in a warning');
like($t->dump_config(), qr/server_name/, 'a test of the configuration is not the running nginx');
$_->close() for values %publishers;

###############################################################################

sub configure {
	my @servers = map { "server { $_ application live { live on; cache_time 1s; } }" } @_;
	$t->write_file_expand('nginx.conf', <<'EOC' =~ s/SERVERS/join "\n", @servers/er);

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;
worker_shutdown_timeout 60s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
SERVERS
}

EOC
}

sub client {
	my ($name, $what) = @_;
	my ($port, $domain) = @{$streams{$name}};
	my $client = rtmp_connect($ports[$port], 'live', tc_url => "rtmp://$domain/live");
	$client->$what($name);
	return $client;
}

# How many streams are played, and how many names are taken, in workers of another configuration.
sub changed {
	configure(@_);
	my %before = map { $_ => 1 } worker_pids($t);
	$t->reload();
	wait_for { my @leaving = $t->read_file('error.log') =~ /(\d+)#\d+: gracefully shutting down/g;
		my %leaving = map { $_ => 1 } @leaving; !grep { !$leaving{$_} } keys %before };
	$frame++;
	$_->send_video($frame * 40, key_frame($frame)) for values %publishers;
	my ($played, $taken) = (0, 0);
	for my $name (sort keys %streams) {
		my $player = client($name, 'play');
		$played++ if $player->read_until(sub { $_[0]{payload} eq key_frame($frame) });
		$player->close();
		my $second = client($name, 'publish');
		$taken++ if $second->status() eq 'NetStream.Publish.BadName';
		$second->close();
	}
	return "$played played, $taken taken";
}

sub warnings_of {
	return map { s/.*\[warn\]/[warn]/r } grep { /\[warn\].*no server/ } split /\n/, $t->read_file('error.log');
}

undef $t;

###############################################################################
