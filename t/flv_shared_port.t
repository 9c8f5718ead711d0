#!/usr/bin/perl

# flv_live PORT where several addresses of the rtmp block have that port: it is clear which one is
# meant, or the configuration is refused.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(8);

my $port = '%%PORT_1935%%';
my ($one, $two) = map { "127.0.0.$_:$port" } 1, 2;
my ($one_said, $two_said) = map { "127.0.0.$_:" . port(1935) } 1, 2;

###############################################################################

# two servers, each with streams of its own

my $servers = "server { listen $one; application live { live on; } }
	server { listen $two; application live { live on; } }";
for my $order (0, 1) {
	my @blocks = ("http { server { location / { flv_live $port; } } }", "rtmp { $servers }");
	@blocks = reverse @blocks if $order;
	my $said = conf_check($t, "@blocks");
	like($said, qr/"\Q$one_said\E" and "\Q$two_said\E"/, 'both are named');
	like($said, qr/"flv_live \Q$one_said\E" or "flv_live \Q$two_said\E"/,
		'and what is allowed');
}
is(conf_check($t, "http { server { location / { flv_live $_; } } } rtmp { $servers }"), '',
	"flv_live $_") for $one, $two;

# the same servers at both: there is nothing to choose

is(conf_check($t, "http { server { location / { flv_live $port; } } }
	rtmp { server { listen $one; listen $two; application live { live on; } } }"), '',
	'one server at two addresses');
is(conf_check($t, "http { server { location / { flv_live $port; } } }
	rtmp { server { listen $one; listen $two; server_name a; application live { live on; } }
	server { listen $one; listen $two; server_name b; application live { live on; } } }"), '',
	'two servers at two addresses');

###############################################################################
