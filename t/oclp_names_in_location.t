#!/usr/bin/perl

# A scheduler that puts the name of a stream into its Location reaches that stream, whether it
# copies the name as it stands in the request, or writes its bytes: pull and push, over RTMP
# and over HTTP.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @names = ('abc', 'YWJj==', 'a+b', 'a|b', "\xe4\xb8\xad\xe6\x96\x87", 'cam 1', 'a%b', 'a/b', 'x.flv',
	"\xff\xfe", q(a"<>\\^`{}b), '100%', '[1]', 'a=b&c=d', 'a.flv/b.flv', 'b/', "\xe4/x.flv/c");
# in a raw url these mean something: what begins a query, or looks like an escape
my @encoded_only = ('a%41', 'a#b', 'a%%2fb');

my $t = Test::Nginx->new()->plan(3 * (2 * @names + @encoded_only) + 2);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8084;

        location / {
            flv_live 127.0.0.1:8083;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    live on;
    cache_time 5s;

    server {
        listen 127.0.0.1:8080;

        application * {
            oclp_pull http://127.0.0.1:8081/pull;
        }
    }

    server {
        listen 127.0.0.1:8082;

        application * {
            oclp_push http://127.0.0.1:8081/push;
        }
    }

    server {
        listen 127.0.0.1:8083;

        application * {
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# each case has an application of its own, so that none sees what is left of another
my $n = 0;
my %at = (rtmp => '127.0.0.1:' . port(8083), http => '127.0.0.1:' . port(8084));

for my $style (['copied', '{name}', @names, @encoded_only], ['decoded', '{=name}', @names]) {
	my ($how, $echo, @these) = @$style;
	for my $name (@these) {
		my $shown = "'" . ($name =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger) . "' $how";
		for my $scheme ('rtmp', 'http') {
			my $p = publisher(8083, 'app' . ++$n, $name, $n);
			$oclp->answer('pull start', status => 302,
				headers => [Location => "$scheme://$at{$scheme}/app$n/$echo"]);
			my $v = rtmp_connect(port(8080), "edge$n");
			$v->play("$name?token=x");
			ok(plays($v, $n), "pull $scheme $shown");
			$_->close() for $v, $p;
		}
		$oclp->answer('push start', status => 302,
			headers => [Location => "rtmp://$at{rtmp}/app" . ++$n . "/$echo"]);
		my $p = publisher(8082, "up$n", $name, $n);
		my $v = rtmp_connect(port(8083), "app$n");
		$v->play($name);
		ok(plays($v, $n), "push rtmp $shown");
		$_->close() for $v, $p;
	}
}

# the query is no name: it goes on byte for byte

$oclp->answer('pull start', status => 302, headers => [Location => "rtmp://$at{rtmp}/live/{name}?k=%2f%00+&l=a%b"]);
my $origin = publisher(8083, 'live', 'query', ++$n);
my $v = rtmp_connect(port(8080), 'live');
$v->play('query');
ok(plays($v, $n), 'a query beside the name');

# control bytes that an escape hides: nobody is asked for such a stream

$oclp->answer('pull start', status => 302, headers => [Location => "rtmp://$at{rtmp}/live/a%0d%0ab"]);
$v = rtmp_connect(port(8080), 'live');
$v->play('control');
wait_for { $t->read_file('error.log') =~ /a%0d%0ab": it holds control bytes/ };
like($t->read_file('error.log'), qr/pull of "live\/control" .*a%0d%0ab": it holds control bytes/,
	'control bytes are refused, and named');

###############################################################################

sub publisher {
	my ($port, $app, $name, $number) = @_;
	my $p = rtmp_connect(port($port), $app);
	$p->publish($name);
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame($number));
	$p->result($p->command('createStream', undef));
	return $p;
}

sub plays {
	my ($v, $number) = @_;
	while (my $message = $v->read_video()) {
		return 1 if $message->{payload} eq key_frame($number);
	}
	return 0;
}

###############################################################################
