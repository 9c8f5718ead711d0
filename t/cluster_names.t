#!/usr/bin/perl

# Streams of a cluster whose names hold bytes of every class: a node that is asked for one pulls it from
# the node that has it, over RTMP and over HTTP, and it is that very stream.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Cluster;
use Test::Nginx::FLV;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# all bytes that a name may hold; "?" begins the query of a name, so it can't
my $bytes = join '', map { chr } grep { $_ >= 0x20 && $_ != 0x7f && $_ != ord '?' } 0 .. 255;
my @names = ('abc', 'cam 1', 'a+b', 'YWJj==', '100%', 'a%20b', 'a%2Fb', 'room/cam', 'room/a/b', 'x.flv',
	'x.flv.flv', 'room/x.flv', "\xe4\xb8\xad\xe6\x96\x87", "\xff\xfe", 'a&name=b', 'a#b', 'a;b=c,d', 'room/', 'a//b', '//', './a', 'a/../b',
	'\$name', ' ', '.flv', 'name.m3u8', '*', '~a', '"quoted"', 'a\\b', $bytes =~ s{/}{}r);

my $t = Test::Nginx->new()->plan(3 * @names + 3);

###############################################################################

my $cluster = cluster($t, nodes => 2);

my (%streams, @clients);
for my $number (1 .. @names) {
	my $p = $cluster->publisher(1, "$names[$number - 1]?token=x");
	is($p->status(), 'NetStream.Publish.Start', 'publish ' . shown($names[$number - 1]));
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame($number));
	push @clients, $p;
}

for my $number (1 .. @names) {
	my $name = $names[$number - 1];
	my $v = $cluster->player(2, $name);
	ok(plays($v, $number), 'over RTMP: ' . shown($name));
	$v->close();
}
my $redirects = $cluster->redirects();
is($redirects, scalar(@names), 'each of them was pulled from the other node');

$t->write_file('scheduler.toml', $t->read_file('scheduler.toml') . "\n[pull]\nover = \"http\"\n");
kill 'HUP', $cluster->{scheduler}{6200}->pid();
ok(wait_for { $cluster->counter('oclp_scheduler_policy_reloads_total', qr/ok/) }, 'pulls go over HTTP now');

my $over_rtmp = 0;
for my $number (1 .. @names) {
	my $name = $names[$number - 1];
	my $v = $cluster->player(2, $name);
	ok(plays($v, $number), 'over HTTP: ' . shown($name));
	$over_rtmp += $cluster->pulls(2);
	$v->close();
}
is($over_rtmp, 0, 'none of them over RTMP');

###############################################################################

sub shown {
	my ($name) = @_;
	return "'" . (substr($name, 0, 20) =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger) . "'";
}

sub plays {
	my ($v, $number) = @_;
	while (my $message = $v->read_video()) {
		return 1 if $message->{payload} eq key_frame($number);
	}
	return 0;
}

###############################################################################
