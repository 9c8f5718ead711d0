#!/usr/bin/perl

# A dollar sign that no name follows is text, in args of callbacks as in the urls and
# parameters of relays; ${name} is a variable.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(3);

relay_run($t, near => <<'EOC');
            oclp_publish http://127.0.0.1:%%PORT_8081%%/p args=a=$&b=$5&c=${name}x&d=$$app&e=1$;
            push rtmp://127.0.0.1:%%PORT_8082%%/to$/$-${name}$ pargs=price=$5;
EOC

###############################################################################

my $oclp = oclp_server($t, port(8081));
my $server = rtmp_server(port(8082));
my $p = near();
$p->publish('cam');
my ($start) = $oclp->wait_requests('publish start', 1);
is($start->{args}, 'a=$&b=$5&c=camx&d=$live&e=1$', 'args of a callback');
my $peer = rtmp_accept($server);
is($peer->{connect}{app}, 'to$', 'application of a push');
is($peer->{name}, '$-cam$?price=$5', 'name and args of a push');
$_->close() for $peer, $p;

###############################################################################
