#!/usr/bin/perl

# oclp_meta_once off: every change of a sequence header asks again while the relay runs, and
# the answer leaves it as it is, moves it, or ends the publisher.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(22);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;
        live on;
        oclp_meta_once off;
        failed_reconnect 60s;
        relay_reconnect 60s;

        application live {
            oclp_meta http://127.0.0.1:8081/a stage=done;
            oclp_meta http://127.0.0.1:8081/b stage=done;
        }
    }

    server {
        listen 127.0.0.1:8083;
        live on;
        cache_time 1s;
        application core {
            oclp_publish http://127.0.0.1:8084/p stage=done;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
my $core = oclp_server($t, port(8084));
$t->run();

###############################################################################

# what the lines have heard (starts and dones), and the core (publishers and their ends)

$oclp->answer('/b meta start', status => 200);
my $n = 0;
my $p = rtmp_connect(port(8080), 'live');
$p->publish('name');

step('the first header', to('one'), 'a 1-0 b 1-0', 'one 1-0');
step('to the same target', to('one'), 'a 2-0 b 2-0', 'one 1-0');
step('to another one', to('two'), 'a 3-1 b 3-0', 'one 1-1 two 1-0');
is(header_at('two'), "header$n", 'with the header');
step('200', [ status => 200 ], 'a 4-1 b 4-0', 'one 1-1 two 1-0');
step('no answer', [ raw => "garbage\x0d\x0a\x0d\x0a" ], 'a 5-1 b 5-0', 'one 1-1 two 1-0');
step('to the same target again', to('two'), 'a 6-1 b 6-0', 'one 1-1 two 1-0');

# a line that had no relay gets one, and each has its own

$oclp->answer('/b meta start', @{to('three')});
step('the other line', to('two'), 'a 7-1 b 7-1', 'one 1-1 two 1-0 three 1-0', 'a 7-1 b 7-0');
$p->send_video(0, "\x17\x00\0\0\0header$n");
$p->send_audio(0, "\xaf\x00asc");
step('neither at the same header, nor at one of audio', to('two'), 'a 8-1 b 8-0',
	'one 1-1 two 1-0 three 1-0');
$p->send_video(40, "\x17\x01\0\0\0key");
is(key_at('two'), 'key', 'the relay goes on');

# the publisher ends, and with it the relays

$oclp->answer('/b meta start', status => 200);
$oclp->answer('/a meta start', status => 403);
$p->send_video(0, "\x17\x00\0\0\0last");
is($p->read_status(), 'NetStream.Publish.BadName', '403: the publisher ends');
ok($p->closed(), 'and is closed');
is(heard($oclp, 'meta start', 'meta done', 'path', 'a 9-2 b 9-1'), 'a 9-2 b 9-1', 'done of each relay');
is(heard($core, 'publish start', 'publish done', 'name', 'one 1-1 three 1-1 two 1-1'),
	'one 1-1 three 1-1 two 1-1', 'none is left');

###############################################################################

sub to {
	my ($name) = @_;
	return [ status => 302, headers => [ Location => 'rtmp://127.0.0.1:' . port(8083) . "/core/$name" ] ];
}

# A new header, with this answer to the first line.
sub step {
	my ($what, $answer, undef, $relays, $lines) = @_;
	$lines //= $_[2];
	$oclp->answer('/a meta start', @$answer);
	$n++;
	$p->send_video(0, "\x17\x00\0\0\0header$n");
	is(heard($oclp, 'meta start', 'meta done', 'path', $lines), $lines, "$what: asked");
	$relays = join ' ', sort_pairs($relays);
	is(heard($core, 'publish start', 'publish done', 'name', $relays), $relays, "$what: relays");
}

# "KEY STARTS-DONES ...", when that is what is expected, or time is up.
sub heard {
	my ($server, $start, $done, $key, $expected) = @_;
	my $heard;
	wait_for {
		my (%starts, %dones);
		$starts{$_->{$key} =~ s{^/}{}r}++ for $server->requests($start);
		$dones{$_->{$key} =~ s{^/}{}r}++ for $server->requests($done);
		$heard = join ' ', map { "$_ $starts{$_}-" . ($dones{$_} // 0) } sort keys %starts;
		$heard eq $expected;
	};
	return $heard;
}

sub sort_pairs {
	my %pairs = split ' ', $_[0];
	return map { ($_, $pairs{$_}) } sort keys %pairs;
}

sub header_at {
	my ($name) = @_;
	my $v = rtmp_connect(port(8083), 'core');
	$v->play($name);
	$p->send_video(0, "\x17\x01\0\0\0key");
	my $message = $v->read_video() // {};
	return substr $message->{payload} // '', 5;
}

sub key_at {
	my ($name) = @_;
	my $v = rtmp_connect(port(8083), 'core');
	$v->play($name);
	my $message = $v->read_until(sub { $_[0]{payload} =~ /key$/ }) // {};
	return substr $message->{payload} // '', 5;
}

###############################################################################
