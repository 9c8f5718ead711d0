#!/usr/bin/perl

# Tests for the values of directives: a bad one is refused with a message that
# says which, where and what it may be.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Conf;

my $time = 'a time such as "300ms" or "3s"';
my $net = 'an address, a CIDR block such as "192.168.1.0/24", "unix:" or "all"';

# directive in its block => what it must be; or the whole message, after "!"
my @bad = (
	'live maybe' => '"on" or "off"',
	'live ""' => '"on" or "off"',
	'cache_time 3x' => $time,
	'cache_time -1' => $time,
	'cache_size 1g' => 'a size from 64k to 2048m',
	'cache_size 1k' => 'a size from 64k to 2048m',
	'merge_window 2s' => '"auto" or a time of at most 1s',
	'drop_idle_publisher on' => '"off" or a time such as "300ms" or "3s"',
	'meta yes' => '"on", "off" or "copy"',
	'out_queue 1z' => 'a time, "size=size" or "drop=number"',
	'out_queue drop=3' => '!"out_queue" needs a time or "size=" beside "drop="',
	'out_queue 1s 2s' => '!"out_queue" directive is duplicate',
	'out_queue 2048'
		=> "!\"out_queue 2048\" is a time of 2048 seconds, not a number of messages\nand starts",
	'timeout 1q' => $time,
	'chunk_size 127' => 'a size from 128 to 16777215',
	'chunk_size 16m' => 'a size from 128 to 16777215',
	'max_message 17m' => 'a size from 4k to 16m',
	'max_streams 7' => 'a number from 8 to 65600',
	'max_streams +9' => 'a number from 8 to 65600',
	'max_streams 99999999999999999999' => 'a number from 8 to 65600',
	'publish_priority 1' => '"on" or "off"',
	'publish_conflict kick' => '"reject" or "replace"',
	'proxy_protocol_from 10.0.0.0/33' => $net,
	'proxy_protocol_from balancer' => $net,
	'max_publishes 0' => 'a number from 1 to 64',
	'max_publishes 65' => 'a number from 1 to 64',
	'first_command_timeout soon' => $time,
	'ack_window 0' => 'a number from 1 to 2147483647',
	'max_connections -1' => 'a number from 0 to 4294967295',
	'failed_reconnect 0' => 'a time longer than 0',
	'rtmp_zone 1k' => 'a size from 32k to 1024m',
	'rtmp_auto_pull_port 1935' => '"unix:" and an absolute path of at most 75 bytes',
	'rtmp_auto_pull_port unix:here' => '"unix:" and an absolute path of at most 75 bytes',

	'allow somebody' => $net,
	'allow 10.0.0.0/33' => $net,
	'deny ::1/129' => $net,
	'deny record all' => '"publish" or "play"',

	'access_log logs/a.log none' => '!unknown log format "none"',
	'access_log off combined' => '!invalid value "combined" in "access_log" '
		. 'directive, it must be left out after "off"',
	'access_log syslog:server=127.0.0.1'
		=> '"off" or the path of a file, without variables',
	'log_format a $bogus' => '!unknown "bogus" variable',
	'log_format a "${app"' => '!a variable in "${app" has no name or no closing bracket, it must be "${name}"',
	'log_format a "${}"' => '!a variable in "${}" has no name or no closing bracket, it must be "${name}"',
	'log_format a escape=all b' => '!invalid value "all" in "log_format" '
		. 'directive, it must be "default", "json" or "none"',
	'log_format a b; log_format a c' => '!duplicate "log_format" name "a"',

	'resolver 127.0.0.1 valid=soon' => '!invalid parameter: valid=soon',

	# what nginx itself looks after
	'bogus on' => '!unknown directive "bogus"',
	'live' => '!invalid number of arguments in "live" directive',
	'live on off' => '!invalid number of arguments in "live" directive',
	'listen 1935' => '!"listen" directive is not allowed here',

	'live on; live on' => '!"live" directive is duplicate',
	'cache_time 1s; cache_time 1s' => '!"cache_time" directive is duplicate',
	'access_log off; access_log logs/a.log' => '!"access_log" directive is duplicate',
);

my $t = Test::Nginx->new()->plan(@bad / 2 + 2);

while (my ($directive, $must_be) = splice @bad, 0, 2) {
	my ($name, $value) = $directive =~ /^(\w+)\s*(\S*)/;
	$value =~ tr/"//d;
	my $message = $must_be =~ /^!(.*)/s ? $1
		: "invalid value \"$value\" in \"$name\" directive, it must be $must_be";
	is(conf_check($t, "rtmp { $directive; }"), $message, $directive);
}

like(join(' ', map { "[$_]" } conf_place($t)), qr/^\[3\]$/,
	'the line of the file');

is(conf_check($t, <<'END'), '', 'good values');
rtmp {
    live on;
    cache_time "1m 30s";
    cache_size 64k;
    merge_window 0;
    out_queue 500ms size=1m drop=0;
    drop_idle_publisher 10s;
    meta COPY;
    sync off;
    timeout 0;
    chunk_size 16777215;
    max_message 4k;
    max_streams 65600;
    max_publishes 64;
    publish_priority on;
    publish_conflict REPLACE;
    proxy_protocol_from 10.0.0.1 2001:db8::/32 unix:;
    proxy_protocol_from all;
    first_command_timeout 0;
    allow publish 10.1.2.3/8;
    allow ::ffff:10.0.0.0/104;
    deny play 2001:db8::/32;
    deny unix:;
    max_connections 0;
    log_format one escape=json '{"app":"$app",' '"token":"${parg_token}"}';
    access_log logs/one.log one;
    access_log logs/two.log;
    resolver 127.0.0.1:5353 valid=10s;
    push_reconnect 1s;
    session_relay on;
}
END

# the line that a message names
sub conf_place {
	my ($t) = @_;

	$t->write_file_expand('check.conf', "%%TEST_GLOBALS%%");
	my $before = () = $t->read_file('check.conf') =~ /\n/g;
	$t->write_file_expand('check.conf',
		"%%TEST_GLOBALS%%\nevents {}\nrtmp {\nlive maybe;\n}\n");
	my $dir = $t->testdir();
	my $output
		= `$Test::Nginx::NGINX -t -p $dir/ -c check.conf -e error.log 2>&1`;
	return map { $_ - $before - 1 } $output =~ /check\.conf:(\d+)/;
}
