#!/usr/bin/perl

# ?pubpri= says who is on air only where "publish_priority" is on.

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

my $t = Test::Nginx->new()->plan(8);

live_run($t, server => 'application on { live on; publish_priority on; }');

###############################################################################

for my $app ('live', 'on') {
	my $connect = sub { rtmp_connect(port(1935), $app) };
	my ($first, $v) = ($connect->(), $connect->());
	is($first->publish('s'), 'NetStream.Publish.Start', "$app: a publisher");
	$v->play('s');
	$first->send_video(0, key_frame(1));
	$v->read_until(sub { $_[0]{payload} eq key_frame(1) });

	my $second = $connect->();
	is($second->publish('s?pubpri=1'), $app eq 'on' ? 'NetStream.Publish.Start' : 'NetStream.Publish.BadName',
		"$app: another one with pubpri=1");
	$second->{stream} = 1;
	$second->send_video(40, key_frame(2));
	$first->send_video(40, key_frame(3));
	my $on_air = $app eq 'on' ? 2 : 3;
	is($v->read_video()->{payload}, key_frame($on_air), "$app: who is on air");
}

my @lines = grep { /\[notice\].*takes over/ } split /\n/, $t->read_file('error.log');
is(@lines, 1, 'one takeover is logged');
like($lines[0], qr{\*\d+ rtmp: another publisher takes over "on/s", client: 127\.0\.0\.1}, 'by whom and of what');

###############################################################################
