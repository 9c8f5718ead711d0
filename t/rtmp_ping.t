#!/usr/bin/perl

# A client that is silent is pinged, but never before its handshake is over: anything else that
# came then would be taken for a part of it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(3);

live_run($t, server => 'ping 500ms; ping_timeout 10s; handshake_timeout 2s;');

###############################################################################

my $mute = rtmp_open(port(1935));
my $half = rtmp_open(port(1935));
$half->send_raw("\3" . 'x' x 1000);

my $v = player('s');
ok($v->read_until(sub { $_[0]{type} == 4 && $_[0]{event} == 6 }, 10), 'a player is pinged');

# they end when the time for a handshake is over
for ($mute, $half) {
	1 while $_->fill(1, 10);
	is($_->{in}, '', 'a client within its handshake gets nothing else');
}

###############################################################################
