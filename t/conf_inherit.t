#!/usr/bin/perl

# Tests for inheritance: from rtmp to server to application, the inner one
# winning, and rules of access one after another.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::RTMP;

my $t = Test::Nginx->new()->plan(20)->write_file_expand('nginx.conf', <<'EOT');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    chunk_size 1001;
    ack_window 1000000;
    live on;
    allow publish 127.0.0.1;
    deny all;

    server {
        listen 127.0.0.1:%%PORT_25030%%;
        chunk_size 1002;
        idle_streams off;

        application inherits { }
        application off { live off; }
        application on { idle_streams on; allow play 127.0.0.1; }
        application first { deny publish 127.0.0.0/8; }
    }

    server {
        listen 127.0.0.1:%%PORT_25031%%;
        ack_window 2000000;
        live off;
        deny publish 127.0.0.1;
        allow 10.0.0.0/8;
        allow ::/0;
        allow unix:;
        allow play all;

        application inherits { }
        application on { live on; }
        application own { live on; allow publish 127.0.0.1/32; deny play all; }
    }

    server {
        listen 127.0.0.1:%%PORT_25032%%;
        application inherits { }
    }
}

EOT

$t->run();

sub settings_of {
	my ($port) = @_;
	my $client = rtmp_connect(port($port), 'inherits');
	return "$client->{in_chunk} $client->{window}";
}

is(settings_of(25030), '1002 1000000', 'one directive from rtmp, one of the server');
is(settings_of(25031), '1001 2000000', 'the other way round');
is(settings_of(25032), '1001 1000000', 'both from rtmp');

# the client has gone when these return
sub publish {
	my ($port, $app) = @_;
	my $client = rtmp_connect(port($port), $app);
	return $client->publish('name');
}

sub play {
	my ($port, $app, $name) = @_;
	my $client = rtmp_connect(port($port), $app);
	return $client->play($name // 'name');
}

my $started = qr/^NetStream\.(?:Publish|Play)\.Start$/;
my $refused = qr/^NetStream\.(?:Publish|Play)\.(?:Forbidden|Failed|BadName)$/;

like(publish(25030, 'inherits'), $started, 'live and allow from rtmp');
like(play(25030, 'inherits'), $refused, 'deny from rtmp');
like(publish(25030, 'off'), $refused, 'live off in an application');
like(play(25030, 'off'), $refused, 'live off for players');
like(play(25030, 'on'), $started, 'own allow before an inherited deny');
like(publish(25030, 'on'), $started, 'inherited rule after an own one');
like(publish(25030, 'first'), $refused, 'own deny before an inherited allow');
like(play(25030, 'first'), $refused, 'deny of another kind does not matter');

like(publish(25031, 'inherits'), $refused, 'live off in a server');
like(publish(25031, 'on'), $refused, 'deny of a server');
like(play(25031, 'on'), $started, 'allow of a server goes before deny of rtmp');
like(publish(25031, 'own'), $started, 'three blocks: the innermost first');
like(play(25031, 'own'), $refused, 'three blocks: its other rule');

like(publish(25032, 'inherits'), $started, 'rtmp to application');
like(play(25032, 'inherits'), $refused, 'rtmp to application, other rule');

# idle_streams: an application's own against its server's
like(play(25030, 'on', 'nobody'), $started, 'application says on');
like(play(25031, 'on', 'nobody'), $started, 'default where nothing is said');
