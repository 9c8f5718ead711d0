#!/usr/bin/perl

# A player that waits in one worker gets what is published in another.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Workers;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(6);

workers_run($t, 4);

###############################################################################

my @players = map { player('s') } 1 .. 12;
my $p = publisher('s');
is($p->status(), 'NetStream.Publish.Start', 'published');
$p->send_video(0, key_frame(0));
my $got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(0) }) } @players;
is($got, 12, 'all who waited play');

# the publisher comes back, wherever that is
for my $life (1 .. 3) {
	$p->close();
	ok(wait_for { $p = publisher('s'); $p->status() eq 'NetStream.Publish.Start' }, "life $life");
	$p->send_video(0, key_frame($life));
	$got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame($life) }) } @players;
	diag("only $got of them play") if $got != 12;
}
is($got, 12, 'and play on in each of its lives');

###############################################################################
