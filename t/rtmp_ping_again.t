#!/usr/bin/perl

# A silent client is pinged each time that it has been silent for "ping", however long it may take
# to answer. One that does not answer is closed, also if it plays.

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

# more than all that a test waits for
my $NEVER = '1h';

my $t = Test::Nginx->new()->plan(5);

live_run($t, server => "ping 300ms; ping_timeout $NEVER;", app => 'idle_streams on;',
	rtmp => <<'EOC');
    server {
        listen 127.0.0.1:%%PORT_1936%%;
        ping 300ms;
        ping_timeout 300ms;
        application live { live on; idle_streams on; }
    }
EOC

###############################################################################

sub is_ping { $_[0]{type} == 4 && $_[0]{event} == 6 }

my $idle = rtmp_connect(port(1935), 'live');
my $v = player('s');
for (1 .. 2) {
	ok($idle->read_until(\&is_ping, 30), "an idle client is pinged, $_");
	ok($v->read_until(\&is_ping, 30), "a player without a stream, too, $_");
}

my $mute = rtmp_connect(port(1936), 'live', auto_pong => 0);
$mute->play('s');
ok($mute->closed(30), 'a player that does not answer is closed');

###############################################################################
