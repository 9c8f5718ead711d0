#!/usr/bin/perl

# Tests for access_log and log_format: one line for each client when it has
# gone, that no client can forge.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

my $t = Test::Nginx->new()->plan(14)->write_file_expand('nginx.conf', <<'EOT');

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

rtmp {
    log_format fields '$command|$app|$name|$args|$parg_token|$domain|$scheme|'
                      '${flashver}|$tc_url|$page_url|$swf_url';
    log_format numbers '$remote_addr $remote_port $server_addr $server_port '
                       '$pid $ngx_worker $msec $connection $bytes_received '
                       '$bytes_sent $session_time $session_readable_time '
                       '$nginx_version $time_iso8601';
    log_format default '$flashver $name';
    log_format json escape=json '{"flashver":"$flashver","name":"$name"}';
    log_format raw escape=none '$flashver';

    access_log %%TESTDIR%%/main.log fields;

    server {
        listen 127.0.0.1:%%PORT_25040%%;

        application live {
            live on;
        }

        application numbers {
            live on;
            access_log %%TESTDIR%%/numbers.log numbers;
        }

        application escape {
            live on;
            access_log %%TESTDIR%%/default.log default;
            access_log %%TESTDIR%%/json.log json;
            access_log %%TESTDIR%%/raw.log raw;
        }

        application combined {
            live on;
            access_log %%TESTDIR%%/combined.log;
        }

        application off {
            live on;
            access_log off;
        }
    }
}

EOT

$t->run();

# the lines that are there when there are so many
sub lines {
	my ($name, $count) = @_;
	my $path = $t->testdir() . "/$name.log";
	my @lines;
	wait_for {
		@lines = -e $path ? split /\n/, $t->read_file("$name.log") : ();
		@lines >= $count;
	};
	return @lines;
}

my %about = (
	tc_url => 'rtmp://WWW.example.com:1935/live',
	connect => { flashVer => 'test 1', pageUrl => 'http://page/', swfUrl => 'http://swf/' },
);

my $client = rtmp_connect(port(25040), 'live', %about);
is($client->publish('one?token=a%20b&x=1'), 'NetStream.Publish.Start', 'publish');
is(join('', lines('main', 0)), '', 'no line while it publishes');
undef $client;
is((lines('main', 1))[0], 'PUBLISH|live|one|token=a%20b&x=1|a%20b|www.example.com|rtmp|'
	. 'test 1|rtmp://WWW.example.com:1935/live|http://page/|http://swf/', 'publisher');

$client = rtmp_connect(port(25040), 'live', %about);
is($client->play('two'), 'NetStream.Play.Start', 'play');
undef $client;
like((lines('main', 2))[1], qr/^PLAY\|live\|two\|-\|-\|www\.example\.com\|/, 'player');

$client = rtmp_connect(port(25040), 'live', %about);
undef $client;
like((lines('main', 3))[2], qr/^NONE\|live\|-\|-\|-\|www\.example\.com\|rtmp\|test 1\|/,
	'neither');

rtmp_connect(port(25040), 'nothing', %about)->closed();
$client = rtmp_connect(port(25040), 'off', %about);
$client->publish('three');
undef $client;
$client = rtmp_connect(port(25040), 'live', %about);
undef $client;
is(scalar(lines('main', 4)), 4, 'no line without an application, or with it off');

$client = rtmp_connect(port(25040), 'numbers');
$client->publish('numbers');
my $from = $client->{socket}->can('sockport') ? $client->{socket}->sockport() : '\d+';
undef $client;
my ($pid) = worker_pids($t);
like((lines('numbers', 1))[0], qr/^127\.0\.0\.1\ $from\ 127\.0\.0\.1\ @{[port(25040)]}
	\ $pid\ 0\ \d{10}\.\d{3}\ \d+\ 3\d{3}\ 3\d{3}\ 0\.\d{3}\ 0s
	\ \d+\.\d+\.\d+\ \d{4}-\d\d-\d\dT\S+$/x, 'numbers');

# what a client can't forge

$client = rtmp_connect(port(25040), 'escape',
	connect => { flashVer => "a\"\\\n\x01\xe9 z" });
undef $client;
is(join('!', lines('default', 1)), 'a\x22\x5C\x0A\x01\xE9 z -', 'escape=default');
is(join('!', lines('json', 1)),
	"{\"flashver\":\"a\\\"\\\\\\n\\u0001\xe9 z\",\"name\":\"\"}", 'escape=json');
is(join('!', lines('raw', 2)), "a\"\\!\x01\xe9 z", 'escape=none');

$client = rtmp_connect(port(25040), 'combined', %about);
$client->play('name?a=1');
undef $client;
like((lines('combined', 1))[0], qr{^127\.0\.0\.1\ \[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\ [+-]\d{4}\]
	\ PLAY\ "combined"\ "name"\ "-"\ -\ 3\d{3}\ \d+\ "http://page/"\ "test\ 1"\ \(\ds\)$}x,
	'combined');

# reopening

rename $t->testdir() . '/main.log', $t->testdir() . '/old.log' or die;
kill 'USR1', $t->read_file('nginx.pid');
ok(wait_for { -e $t->testdir() . '/main.log' }, 'log is opened again');
wait_for {
	$client = rtmp_connect(port(25040), 'live', %about);
	undef $client;
	-s $t->testdir() . '/main.log';
};
isnt(scalar(lines('main', 1)), 0, 'and written to');

# the subs hold it, and it must end before the tests are counted
undef $t;
