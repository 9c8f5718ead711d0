#!/usr/bin/perl

# What the directives of callbacks take, and how a mistake is named.

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

my $t = Test::Nginx->new();

my $url = 'http://127.0.0.1:6200/oclp/v1/play';
my $must_be = 'it must be an http:// url, or a parameter it takes';

# in an application; '' is right
my @cases = (
	["oclp_play $url", ''],
	["oclp_play $url stage=start,update,done args=a=c&b=d groupid=g timeout=1s update=1m", ''],
	["oclp_play stage=done $url timeout=100ms", ''],
	["oclp_play http://host.invalid", ''],
	["oclp_play http://host.invalid:8080?x=y", ''],
	['oclp_play http://[::1]:8080/p', ''],
	['oclp_play http://h/p?a=b args=$args&d=$domain&t=$parg_token&w=${ngx_worker}', ''],
	["oclp_play $url stage=start", ''],
	['oclp_play http://h/p args=a=$&b=$5&c=${name}x', ''],
	["oclp_play $url timeout=0 update=0", ''],
	["oclp_push $url retries=3", ''],
	["oclp_play $url; oclp_publish $url; oclp_stream $url; oclp_pull $url", ''],
	["oclp_push $url; " x 8 . 'live on', ''],
	["oclp_meta $url; " x 8 . 'live on', ''],
	["oclp_pull $url; pull rtmp://127.0.0.1/core", ''],
	["oclp_push $url; push rtmp://127.0.0.1/core", ''],
	['oclp_meta_once off; oclp_meta_type both; oclp_fail closed', ''],

	['oclp_play', 'invalid number of arguments in "oclp_play" directive'],
	['oclp_play stage=done', '"oclp_play" directive needs an http:// url'],
	['oclp_play https://h/', qq{invalid value "https://h/" in "oclp_play" directive, $must_be}],
	['oclp_play rtmp://h/', qq{invalid value "rtmp://h/" in "oclp_play" directive, $must_be}],
	['oclp_play /p', qq{invalid value "/p" in "oclp_play" directive, $must_be}],
	['oclp_play http:///p', qq{invalid value "http:///p" in "oclp_play" directive, $must_be}],
	['oclp_play http://h:x/', qq{invalid value "http://h:x/" in "oclp_play" directive, $must_be}],
	['oclp_play http://h:0/', qq{invalid value "http://h:0/" in "oclp_play" directive, $must_be}],
	['oclp_play http://u@h/', qq{invalid value "http://u\@h/" in "oclp_play" directive, $must_be}],
	["oclp_play $url once=1", qq{invalid value "once=1" in "oclp_play" directive, $must_be}],
	["oclp_play $url $url", qq{duplicate parameter "$url"}],
	["oclp_play $url args=a args=b", 'duplicate parameter "args=b"'],
	["oclp_play $url stage=start,end",
		'unknown stage "end", it must be "start", "update" or "done"'],
	["oclp_play $url stage=", 'unknown stage "", it must be "start", "update" or "done"'],
	["oclp_play $url timeout=soon",
		'invalid value "soon" in "oclp_play" directive, it must be a time such as "300ms" or "3s"'],
	["oclp_play $url update=-1",
		'invalid value "-1" in "oclp_play" directive, it must be a time such as "300ms" or "3s"'],
	["oclp_play $url " . 'args=$nothing', 'unknown "nothing" variable'],
	["oclp_play $url; oclp_play $url", '"oclp_play" directive is duplicate'],
	["oclp_pull $url; oclp_pull $url", '"oclp_pull" directive is duplicate'],
	["oclp_push $url; " x 9 . 'live on',
		'too many "oclp_push" directives, an application may have 8'],
	["oclp_meta $url; " x 9 . 'live on',
		'too many "oclp_meta" directives, an application may have 8'],
	["oclp_push $url; oclp_meta $url",
		"\"oclp_meta\" is ignored in an application that has \"oclp_push\"\nand starts"],
	["oclp_meta $url; oclp_push $url",
		"\"oclp_meta\" is ignored in an application that has \"oclp_push\"\nand starts"],
	['oclp_meta_type none', 'invalid value "none" in "oclp_meta_type" directive, '
		. 'it must be "video", "audio" or "both"'],
	['oclp_meta_once maybe',
		'invalid value "maybe" in "oclp_meta_once" directive, it must be "on" or "off"'],
	['oclp_fail half', 'invalid value "half" in "oclp_fail" directive, it must be "open" or "closed"'],
	["oclp_record $url", '"oclp_record" is not supported, since nothing is recorded here: '
		. 'let a recorder play the stream, or use "oclp_stream" to be told of it'],
	["oclp_proc $url", '"oclp_proc" directive is not allowed here'],
	["oclp_connect $url", '"oclp_connect" directive is not allowed here'],
);
# the models of the documentation that the directives come from, as they stand there
my @models = (<<'BASIC', <<'PULL', <<'PUSH');
application test {
    live on;
    cache_time 3s;
    idle_streams off;
    oclp_publish http://127.0.0.1:6200/oclp/v1/publish stage=start,done args=a=c&b=d;
    oclp_play    http://127.0.0.1:6200/oclp/v1/play    stage=start,done args=a=c&b=d;
    oclp_stream  http://127.0.0.1:6200/oclp/v1/stream  stage=start,done args=a=c&b=d;
}
BASIC
application edge {
    live on;
    cache_time 3s;
    low_latency on;
    oclp_pull     http://127.0.0.1:6200/oclp/v1/pull    stage=start,update,done args=a=c&b=d;
    pull http://101.200.241.232:11939/core app=core;
}
PULL
application pub {
    live on;
    #oclp_push    http://127.0.0.1:6200/oclp/v1/push    stage=start,update,done args=a=c&b=d timeout=1s;
    oclp_meta    http://127.0.0.1:6200/oclp/v1/push    stage=start,update,done args=a=c&b=d timeout=1s;
}
PUSH
# in the other blocks
my @outside = (
	["oclp_proc $url timeout=1s update=1s;", '', ''],
	["oclp_proc $url; oclp_proc $url;", '', '"oclp_proc" directive is duplicate'],
	["oclp_proc $url stage=start groupid=g;", '', ''],
	["oclp_proc $url stage=start,done;", '', 'a worker\'s start has no other stage than "start"'],
	['', "oclp_proc $url;", '"oclp_proc" directive is not allowed here'],
	['', "oclp_connect $url;", '"oclp_connect" has no effect, as in the module it comes from: '
		. "use \"oclp_publish\" and \"oclp_play\"\nand starts"],
	['', "oclp_play $url;", '"oclp_play" directive is not allowed here'],
	["oclp_push $url;", '', '"oclp_push" directive is not allowed here'],
	['oclp_meta_once off; oclp_meta_type audio; oclp_fail closed;',
		'oclp_meta_once on; oclp_meta_type both; oclp_fail open;', ''],
);

$t->plan(@cases + @models + @outside);

###############################################################################

for my $case (@cases) {
	my ($lines, $expected) = @$case;
	is(conf_check($t, "rtmp { server { application live { $lines; } } }"), $expected,
		length $lines > 100 ? substr($lines, 0, 100) . ' ...' : $lines);
}
is(conf_check($t, "rtmp { server { listen 127.0.0.1:8080; $_ } }"), '', 'a model: ' . (split /\n/)[0])
	for @models;
for my $case (@outside) {
	my ($rtmp, $server, $expected) = @$case;
	is(conf_check($t, "rtmp { $rtmp server { $server application live { } } }"), $expected,
		"rtmp: $rtmp server: $server");
}

###############################################################################
