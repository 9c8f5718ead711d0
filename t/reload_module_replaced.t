#!/usr/bin/perl

# A module file that a package update has exchanged, and a reload: nginx then has both in its master,
# and no stream is hidden.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Copy qw/ copy move /;

use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my ($module) = ($ENV{TEST_NGINX_GLOBALS} // '') =~ /load_module (\S+ngx_rtmp_module\.so);/
	or plan(skip_all => 'the module is not loaded from a file of its own');

my $t = Test::Nginx->new()->plan(4);

my $own = $t->testdir() . '/module.so';
copy($module, $own) or die "$own: $!\n";
$ENV{TEST_NGINX_GLOBALS} =~ s/\Q$module\E/$own/;
workers_run($t, 2, main => 'worker_shutdown_timeout 60s;');

###############################################################################

my $p = publisher('s');
$p->send_video(0, key_frame(0));

for my $round (1, 2) {
	copy($module, "$own.new") or die "$own.new: $!\n";
	move("$own.new", $own) or die "$own: $!\n";
	my %before = map { $_ => 1 } worker_pids($t);
	$t->reload();
	my @new;
	wait_for { 2 == (@new = grep { !$before{$_} } worker_pids($t)) };
	my $seen = 0;
	for my $worker (@new) {
		my $v = client_at($t, sub { $_[0] == $worker });
		$v->play('s');
		$seen++ if $v->read_until(sub { $_[0]{payload} eq key_frame(0) });
		$v->close();
	}
	is($seen, 2, "exchange $round: the stream is played");
	is(publisher('s')->status(), 'NetStream.Publish.BadName', "exchange $round: its name is taken");
}
$p->close();

###############################################################################
