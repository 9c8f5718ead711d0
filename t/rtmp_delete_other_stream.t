#!/usr/bin/perl

# deleteStream ends the message stream that it names, and no other.

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

my @others = (0, 2, 7, 255, 4294967295, -1);

my $t = Test::Nginx->new()->plan(@others + 4);

live_run($t);

###############################################################################

my $p = publisher('a');
my $v = player('a');
$p->send_video(0, video_header());
my $n = 0;
for my $id (@others) {
	$p->send_command($_, 'deleteStream', 0, undef, $id) for 0, 1;
	$p->send_video(++$n * 40, key_frame($n));
	ok($v->read_until(sub { $_[0]{payload} eq key_frame($n) }), "deleteStream $id: 1 goes on");
}
is(publisher('a')->status(), 'NetStream.Publish.BadName', 'and holds its name');

$v->send_command(1, 'deleteStream', 0, undef, 9);
$p->send_video(1000, key_frame(8));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(8) }), 'so does a player');

$p->send_command(0, 'deleteStream', 0, undef, 1);
is($p->read_status(), 'NetStream.Unpublish.Success', 'its own id ends it');
is(publisher('a')->status(), 'NetStream.Publish.Start', 'the name is free');

###############################################################################
