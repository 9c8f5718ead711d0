#!/usr/bin/perl

# A stream has one publisher, whatever worker they come to.

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

my $t = Test::Nginx->new()->plan(4);

workers_run($t, 4, app => "publish_priority on;");

###############################################################################

my $p = publisher('s');
my %status;
$status{publisher('s')->status()}++ for 1 .. 12;
is_deeply(\%status, { 'NetStream.Publish.BadName' => 12 }, 'twelve more are refused');

my $high = publisher('s?pubpri=5');
is($high->status(), 'NetStream.Publish.Start', 'one of higher priority is not');
my @players = map { player('s') } 1 .. 12;
$p->send_video(0, key_frame(1));
$high->send_video(0, key_frame(2));
my $got = grep { $_->read_until(sub { $_[0]{payload} eq key_frame(2) }) } @players;
is($got, 12, 'and is seen by all players');
$p->send_video(40, key_frame(3));
$p->result($p->command('createStream', undef));
$high->send_video(40, key_frame(4));
$got = grep { $_->read_video()->{payload} eq key_frame(4) } @players;
is($got, 12, 'instead of the other');

###############################################################################
