#!/usr/bin/perl

# Tests for the blocks: rtmp, server, application, and nginx without them.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;
use Test::Nginx::RTMP;

my $t = Test::Nginx->new()->has(qw/http/)->plan(19);

$t->write_file('apps.conf', 'application included { live on; }');

is(conf_check($t, ''), '', 'no rtmp block');
is(conf_check($t, 'http {}'), '', 'no rtmp block, but http');
is(conf_check($t, 'rtmp {}'), '', 'an empty rtmp block');
is(conf_check($t, 'rtmp { server {} }'), '', 'an empty server block');
is(conf_check($t, 'rtmp {} rtmp {}'), '"rtmp" directive is duplicate',
	'two rtmp blocks');
is(conf_check($t, 'http { rtmp {} }'),
	'"rtmp" directive is not allowed here', 'rtmp in http');
is(conf_check($t, 'rtmp;'), 'directive "rtmp" has no opening "{"',
	'rtmp without a block');
is(conf_check($t, 'rtmp { application live {} }'),
	'"application" directive is not allowed here',
	'application outside of a server');
is(conf_check($t, 'rtmp { server { application {} } }'),
	'invalid number of arguments in "application" directive',
	'application without a name');
is(conf_check($t, 'rtmp { server { application a {} application a {} } }'),
	'duplicate application "a"', 'two applications of a name');
is(conf_check($t, 'rtmp { server { application a { timeout 1s; } } }'),
	'"timeout" directive is not allowed here', 'server directive in an application');
is(conf_check($t, 'rtmp { server { application a { server {} } } }'),
	'"server" directive is not allowed here', 'server in an application');
is(conf_check($t, 'rtmp { server { live on;'),
	'unexpected end of file, expecting "}"', 'missing brace');

$t->write_file_expand('nginx.conf', <<'EOT');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    server {
        listen 127.0.0.1:%%PORT_25001%%;

        application exact { live on; }
        application '' { live on; }
        include apps.conf;
    }

    server {
        listen 127.0.0.1:%%PORT_25002%%;

        application exact { live off; }
        application * { live on; }
    }
}

EOT

$t->run();

sub publish_on {
	my ($port, $app) = @_;
	my $client = rtmp_connect(port($port), $app);
	return $client->status() if $client->status() !~ /Success/;
	return $client->publish('name');
}

is(publish_on(25001, 'exact'), 'NetStream.Publish.Start', 'application by its name');
is(publish_on(25001, 'included'), 'NetStream.Publish.Start', 'included application');
unlike(publish_on(25001, 'other'), qr/Start/, 'no such application');
unlike(publish_on(25001, 'Exact'), qr/Start/, 'another case of letters');
unlike(publish_on(25002, 'exact'), qr/Start/, 'a name goes before the asterisk');
is(publish_on(25002, 'other'), 'NetStream.Publish.Start', 'asterisk');
