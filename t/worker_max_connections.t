#!/usr/bin/perl

# max_connections counts the clients of all workers.

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

workers_run($t, 4, app => 'max_connections 5;');

###############################################################################

my @players = map { player("s$_") } 1 .. 5;
is(scalar(grep { $_->status() eq 'NetStream.Play.Start' } @players), 5, 'five are let in');
is(player('s')->status(), 'NetStream.Play.Forbidden', 'the sixth is not');
is(publisher('s')->status(), 'NetStream.Publish.Forbidden', 'a publisher counts as well');
$players[0]->close();
ok(wait_for { player('s')->status() eq 'NetStream.Play.Start' }, 'a place becomes free');

###############################################################################
