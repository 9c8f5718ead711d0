#!/usr/bin/perl

# Tests for the directives of relays: the forms that load, and what is said of those
# that do not.

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

# also of AlexWoo's and of arut's module, and of the document
my @good = (
	'push rtmp://xxx/xxx',
	'pull rtmp://xxx/xxx',
	'pull http://101.200.241.232:11939/core app=core',
	'push rtmp://127.0.0.1/core app=core; push rtmp://127.0.0.1/core app=other',
	'push rtmp://[::1]:1936/a/b/c?d=e rtmp://b RTMP://c:1',
	'push unresolvable.invalid/live',
	'push "rtmp://a/b c/d%20e" rtmp://a//b rtmp://a/live2?backup=1/key',
	'push rtmp://$parg_host/$app/$name?$args tc_url=rtmp://${domain}/x',
	'push rtmp://a/b tcUrl=rtmp://t/ pageUrl=p swfUrl=s "flashVer=a b" playPath=n live=1',
	'pull rtmp://a/b name=n static',
	'pull rtmp://a/b/c name=n static live=1 start=0 stop=1',
	'pull http://$domain:80/live referer=r user_agent=u pargs=x=y domain=d',
	'relay_redirects any; relay_allow 10.0.0.0/8; relay_allow ::1; relay_deny 10.1.2.3; relay_deny all',
	'pull_linger 3s; relay_buffer 1s; push_reconnect 1s; pull_reconnect 2s; session_relay on',
);

my $words = 'an rtmp:// url, or one of "domain=", "app=", "name=", "pargs=", "tc_url=", '
	. '"page_url=", "swf_url=", "flash_ver=", "referer=" and "user_agent="';
my $pull = $words =~ s{rtmp:// url, or}{rtmp:// or http:// url, "static", or}r;
my $networks = 'an address, a CIDR block such as "192.168.1.0/24", or "all"';
my $host = ', with a host and a valid port';

my @bad = (
	'push app=x' => '"push" directive needs an url',
	'pull static name=x' => '"pull" directive needs an url',
	'push http://a/b' => bad('http://a/b', 'push', 'an rtmp:// url: HTTP-FLV is only pulled'),
	'push rtmps://a/b' => bad('rtmps://a/b', 'push', $words),
	'pull https://a/b' => bad('https://a/b', 'pull', $pull),
	'push rtmp://' => bad('rtmp://', 'push', $words . $host),
	'push rtmp://a:0/b' => bad('rtmp://a:0/b', 'push', $words . $host),
	'push rtmp://a:65536/b' => bad('rtmp://a:65536/b', 'push', $words . $host),
	'push rtmp://a:1x/b' => bad('rtmp://a:1x/b', 'push', $words . $host),
	'push rtmp://[::1/b' => bad('rtmp://[::1/b', 'push', $words . $host),
	'push rtmp://user:pass@a/b' => bad('rtmp://user:pass@a/b', 'push', $words . $host),
	'push "rtmp://a b/c"' => bad('rtmp://a b/c', 'push', $words . $host),
	'push "rtmp://a/b%0dc"' => bad('rtmp://a/b%0dc', 'push', "$words, without control bytes"),
	'push rtmp://a/b spare' => bad('spare', 'push', $words),
	'push rtmp://a/b static' => bad('static', 'push', $words),
	'push rtmp://a/b key=value' => bad('key=value', 'push', $words),
	'push rtmp://a/b app=x app=y' => 'duplicate parameter "app=y"',
	'push rtmp://a/b tc_url=x tcUrl=y' => 'duplicate parameter "tcUrl=y"',
	'push rtmp://$bogus/b' => 'unknown "bogus" variable',
	'pull rtmp://a/b; pull rtmp://c/d' => '"pull" directive is duplicate',
	'pull rtmp://a/b static' => 'a static "pull" needs "name=", the name of the stream, '
		. 'without variables',
	'pull rtmp://a/b static name=$app' => 'a static "pull" needs "name=", the name of the '
		. 'stream, without variables',
	'pull_linger soon' => bad('soon', 'pull_linger', 'a time such as "300ms" or "3s"'),
	'relay_redirects on' => bad('on', 'relay_redirects', '"any", "same_host" or "off"'),
	'relay_redirects any; relay_redirects off' => '"relay_redirects" directive is duplicate',
	'relay_deny unix:' => bad('unix:', 'relay_deny', $networks),
	'relay_allow 10.0.0.0/33' => bad('10.0.0.0/33', 'relay_allow', $networks),
	'relay_allow example.com' => bad('example.com', 'relay_allow', $networks),
	'push_reconnect 0' => bad('0', 'push_reconnect', 'a time longer than 0'),
);

my $t = Test::Nginx->new()->plan(@good + @bad / 2 + 2);

###############################################################################

is(check('live', $_), '', $_) for @good;
while (my ($line, $message) = splice @bad, 0, 2) {
	is(check('live', $line), $message, $line);
}

is(check('*', 'pull rtmp://a/b static name=x'), 'a static "pull" must stand in an '
	. 'application that has a name', 'static pull in any application');
is(conf_check($t, 'rtmp { push rtmp://a/b; }'), '"push" directive is not allowed here',
	'push in the rtmp block');

###############################################################################

sub bad {
	my ($value, $directive, $must_be) = @_;
	return qq{invalid value "$value" in "$directive" directive, it must be $must_be};
}

sub check {
	my ($app, $lines) = @_;
	return conf_check($t, "rtmp { server { listen 127.0.0.1:%%PORT_1935%%; "
		. "application $app { live on; $lines; } } }");
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
