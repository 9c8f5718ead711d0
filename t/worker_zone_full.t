#!/usr/bin/perl

# A full zone leaves a stream to its own worker, and says so.

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

my $t = Test::Nginx->new()->plan(3);

workers_run($t, 1, rtmp => 'rtmp_zone 32k;');

###############################################################################

my $long = 'x' x 200;
my @publishers = map { publisher("$long$_") } 1 .. 200;
is(scalar(grep { $_->status() eq 'NetStream.Publish.Start' } @publishers), 200, 'all publish');
my $v = player("${long}200");
$publishers[199]->send_video(0, key_frame(0));
ok($v->read_until(sub { $_[0]{payload} eq key_frame(0) }), 'and can be played');
like($t->read_file('error.log'), qr/"rtmp_zone" is full/, 'the log says what is missing');

###############################################################################
