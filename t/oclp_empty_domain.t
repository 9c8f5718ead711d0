#!/usr/bin/perl

# A Domain header without a value counts as none: the relay goes on under the client's own
# domain.

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

my $t = Test::Nginx->new()->plan(4);

relay_run($t, near => <<'EOC');
        }

        application push {
            live on;
            oclp_push http://127.0.0.1:%%PORT_8081%%/p;
        }

        application pull {
            live on;
            oclp_pull http://127.0.0.1:%%PORT_8081%%/p;
EOC

###############################################################################

my $oclp = oclp_server($t, port(8081));
my $server = rtmp_server(port(8082));
for my $empty ('', '   ') {
	$oclp->answer('*', status => 302, headers => [ Domain => $empty,
		Location => 'rtmp://127.0.0.1:' . port(8082) . '/there/name' ]);
	my $p = rtmp_connect(port(1935), 'push', tc_url => 'rtmp://own.example/push');
	$p->publish("name$empty");
	my $peer = rtmp_accept($server);
	is($peer && $peer->{connect}{tcUrl}, 'rtmp://own.example/there', "push: \"Domain:$empty\"");
	$_->close() for grep { $_ } $p, $peer;

	my $v = rtmp_connect(port(1935), 'pull', tc_url => 'rtmp://own.example/pull');
	$v->play("name$empty");
	$peer = rtmp_accept($server);
	is($peer && $peer->{connect}{tcUrl}, 'rtmp://own.example/there', "pull: \"Domain:$empty\"");
	$_->close() for grep { $_ } $v, $peer;
}

###############################################################################
