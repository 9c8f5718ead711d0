#!/usr/bin/perl

# HTTP-FLV: the directive, wherever the blocks stand, and what is wrong with it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header audio_header key_frame inter_frame
	audio_frame /;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(20);

###############################################################################

my $port = '%%PORT_1935%%';
my $rtmp = "rtmp { server { listen 127.0.0.1:$port; application live { live on; } } }";

is(check("flv_live $port;", 0), '', 'rtmp after http');
is(check("flv_live $port;", 1), '', 'rtmp before http');
is(check("flv_live 127.0.0.1:$port app=live;"), '', 'address and app');
is(check("flv_live *:$port;"), '', 'any address');
like(check('flv_live 1;'), qr/no server of the "rtmp" block listens on "1" of the "flv_live" directive$/,
	'no such port');
like(check("flv_live 127.0.0.2:$port;"), qr/listens on "127.0.0.2:\d+"/, 'no such address');
like(check("flv_live $port; flv_live $port;"), qr/"flv_live" directive is duplicate/, 'duplicate');
like(check('flv_live 0;'), qr/invalid value "0" in "flv_live" directive, it must be a port/, 'port 0');
like(check('flv_live on;'), qr/invalid value "on"/, 'no port');
like(check("flv_live $port x=y;"), qr/invalid value "x=y".*app=/, 'unknown parameter');
like(check("flv_live $port app=;"), qr/invalid value "app="/, 'no app');
for my $bad ('on', '* https://a', 'https://a/b', 'a.example', 'https://*.a', 'https://a off') {
	like(check("flv_live $port; flv_cors $bad;"),
		qr/invalid value "\S+" in "flv_cors" directive, it must be origins such as/, "flv_cors $bad");
}
like(check("flv_cors off; flv_cors *;"), qr/"flv_cors" directive is duplicate/, 'flv_cors twice');
like(conf_check($t, "http { server { location / { flv_live $port; } } }"),
	qr/no server of the "rtmp" block/, 'no rtmp block');
like(conf_check($t, "http { flv_live $port; } $rtmp"), qr/not allowed here/, 'not in http');

###############################################################################

sub check {
	my ($lines, $before) = @_;
	my $http = "http { server { listen 127.0.0.1:8080; location / { $lines } } }";
	return conf_check($t, $before ? "$rtmp\n$http" : "$http\n$rtmp");
}

# the subs hold it, and it must end before the tests are counted
undef $t;
