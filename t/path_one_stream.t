#!/usr/bin/perl

# One path is one stream, however a client divides it between application and name, and whatever
# protocol it speaks; the longest application that exists decides.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive qw/ websocket /;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(60);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8080;

        location / {
            flv_live 127.0.0.1:8082;
        }
        location /fixed/ {
            flv_live 127.0.0.1:8082 app=live;
        }
        location /live/fixed/ {
            flv_live 127.0.0.1:8082 app=live;
        }
    }
    server {
        listen 127.0.0.1:8085;

        location / {
            flv_live 127.0.0.1:8083;
        }
    }
    server {
        listen 127.0.0.1:8086;

        location / {
            flv_live 127.0.0.1:8084;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/inner;
    live on;
    cache_time 5s;

    # one application
    server {
        listen 127.0.0.1:8082;

        application live {
            oclp_publish http://127.0.0.1:8081/publish;
            oclp_play http://127.0.0.1:8081/play;
        }
    }
    server {
        listen 127.0.0.1:8082;
        server_name www.example.com;

        application live {
            oclp_publish http://127.0.0.1:8081/publish;
            oclp_play http://127.0.0.1:8081/play;
        }
    }

    # one inside of another's path, and all others
    server {
        listen 127.0.0.1:8083;

        application live {
            oclp_publish http://127.0.0.1:8081/publish;
        }
        application live/room {
            oclp_publish http://127.0.0.1:8081/publish;
            deny play 127.0.0.1;
        }
        application * {
            oclp_publish http://127.0.0.1:8081/publish;
        }
    }

    # of two levels only, and one that would pull its own streams
    server {
        listen 127.0.0.1:8084;
        idle_streams off;

        application deep/er {
        }
        application loop {
            pull rtmp://127.0.0.1:8084 app=loop/room name=cam;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# every way to name room/cam of the application live

my $n = 0;
for my $case (['live', 'room/cam'], ['live/room', 'cam'], ['live/', 'room/cam'], ['live/room/', 'cam'],
	['live/_definst_', 'room/cam'], ['live?a=b', 'room/cam'])
{
	my ($app, $name) = @$case;
	my $p = publisher(8082, $app, "$name?k=v", ++$n);
	is($p->{code}, 'NetStream.Publish.Start', "publish $app + $name");
	my $request = ($oclp->wait_requests('publish start', $n))[$n - 1];
	is("$request->{app} $request->{name}", 'live room/cam', 'the callback has one form');
	if ($n == 1) {
		ok(plays(rtmp(8082, 'live', 'room/cam'), $n), 'play live + room/cam');
		ok(plays(rtmp(8082, 'live/room', 'cam'), $n), 'play live/room + cam');
		my $v = rtmp(8082, 'live', 'other');
		$v->send_command(1, 'play2', 0, undef, { streamName => 'room/cam' });
		ok(plays($v, $n), 'play2');
		ok(flv_plays(8080, '/live/room/cam.flv', $n), 'HTTP');
		ok(flv_plays(8080, '/live/room/cam', $n), 'HTTP without .flv');
		ok(flv_plays(8080, '/fixed/live/../../live/room/cam.flv', $n), 'HTTP, a path that nginx normalises');
		my $ws = websocket(port(8080), '/live/room/cam.flv');
		ok($ws && index($ws->stream(600), key_frame($n)) > 0, 'WebSocket');
		my %seen = map { ("$_->{app} $_->{name}" => 1) } grep { $_->{name} ne 'other' } $oclp->requests('play start');
		is_deeply([keys %seen], ['live room/cam'], 'the callback of players has one form');
		for my $spelling (['live', 'room/cam'], ['live/room', 'cam']) {
			my $q = publisher(8082, @$spelling, 99);
			is($q->{code}, 'NetStream.Publish.BadName', "second publisher: @$spelling");
			$n++;
		}
		is(scalar($oclp->wait_requests('publish start', $n)), $n, 'asked about');
	}
	unpublish($p);
}

# the path of a location with app=: its last part, unless it begins with the application

my $p = publisher(8082, 'live', 'cam', ++$n);
ok(flv_plays(8080, '/fixed/any/cam.flv', $n), 'app=: the last part');
unpublish($p);
$p = publisher(8082, 'live', 'fixed/cam', ++$n);
ok(flv_plays(8080, '/live/fixed/cam.flv', $n), 'app=: a path that begins with it');
unpublish($p);

# names that end in .flv

$p = publisher(8082, 'live', 'x.flv', ++$n);
ok(flv_plays(8080, '/live/x.flv.flv', $n), 'x.flv by HTTP');
ok(plays(rtmp(8082, 'live', 'x.flv'), $n), 'x.flv by RTMP');
my $q = publisher(8082, 'live', 'x', ++$n);
ok(flv_plays(8080, '/live/x.flv', $n), 'x by HTTP');
ok(flv_plays(8080, '/live/x.flv.flv', $n - 1), 'x.flv is another stream');
unpublish($_) for $p, $q;

# a client that names an address: the first level is a domain where no application matches

$p = publisher(8082, 'live/room', 'cam', ++$n, '127.0.0.1');
is_deeply(told(), ['127.0.0.1', 'live', 'room/cam'], 'an application of two levels at an address');
ok(flv_plays(8080, '/live/room/cam.flv', $n), 'HTTP at an address');
$q = publisher(8082, 'www.example.com/live/room', 'cam', ++$n, '127.0.0.1');
is_deeply(told(), ['www.example.com', 'live', 'room/cam'], 'a domain, and two levels');
ok(flv_plays(8080, '/www.example.com/live/room/cam.flv', $n), 'HTTP, a domain in the path');
unpublish($_) for $p, $q;

# the longest application wins, for its rules, too

for my $case (['live', 'room/cam'], ['live/room', 'cam']) {
	$p = publisher(8083, @$case, ++$n);
	is_deeply([@{told()}[1, 2]], ['live/room', 'cam'], "the longest application: @$case");
	my $v = rtmp(8083, @$case);
	is($v->{code}, 'NetStream.Play.Forbidden', 'its rules');
	unpublish($p);
}
is(http_flv(port(8085), '/live/room/cam.flv')->status(), 403, 'its rules for HTTP');
for my $case (['live', 'roomy/cam', 'live', 'roomy/cam'], ['live/roomy', 'cam', 'live', 'roomy/cam'],
	['a/b', 'c', 'a', 'b/c'], ['a', 'b/c', 'a', 'b/c'], ['a', 'b', 'a', 'b'])
{
	my ($app, $name, @expected) = @$case;
	$p = publisher(8083, $app, $name, ++$n);
	is_deeply([@{told()}[1, 2]], \@expected, "$app + $name");
	ok(flv_plays(8085, '/' . join('/', @expected) . '.flv', $n), 'HTTP') if $name ne 'b';
	unpublish($p);
}

# a client may connect to less than an application's name, and then has to name the rest

$p = publisher(8084, 'deep', 'er/cam', ++$n);
is($p->{code}, 'NetStream.Publish.Start', 'deep + er/cam');
ok(plays(rtmp(8084, 'deep/er', 'cam'), $n), 'deep/er + cam');
ok(flv_plays(8086, '/deep/er/cam.flv', $n), '/deep/er/cam.flv');
is(rtmp(8084, 'deep', 'cam')->{code}, 'NetStream.Play.StreamNotFound', 'play deep + cam');
is(publisher(8084, 'deep', 'cam', 0)->{code}, 'NetStream.Publish.BadName', 'publish deep + cam');
is(http_flv(port(8086), '/deep/cam.flv')->status(), 404, '/deep/cam.flv');
ok(wait_for { logged(qr/\[error\].*no such application, app: "deep", name: "cam"/) }, 'the log names the path');
is(rtmp_connect(port(8084), $_)->{code}, 'NetConnection.Connect.InvalidApp', "connect to $_")
	for 'nosuch', 'deeper', 'nosuch/room';
ok(wait_for { logged(qr/\[error\].*no such application, app: "nosuch\/room"/) }, 'the log names it');
my $long = rtmp_connect(port(8084), 'deep/er/' . 'x' x 200);
is($long->publish('y' x 200), 'NetStream.Publish.BadName', 'a name that is too long in two pieces');

# a pull that leads to its own stream by another spelling

my $v = rtmp_connect(port(8084), 'loop');
$v->play('room/cam');
ok(wait_for { logged(qr/pull of "loop\/room\/cam" .* is this very stream here/) }, 'a loop is seen');

###############################################################################

sub publisher {
	my ($port, $app, $name, $number, $host) = @_;
	my $tc_url = 'rtmp://' . ($host // 'localhost') . "/$app";
	my $p = rtmp_connect(port($port), $app, tc_url => $tc_url);
	return $p if $p->publish($name) ne 'NetStream.Publish.Start';
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame($number));
	$p->result($p->command('createStream', undef));
	$p->{code} = 'NetStream.Publish.Start';
	return $p;
}

# Leaves, and returns when the server knows.
sub unpublish {
	my ($p) = @_;
	$p->send_command(0, 'deleteStream', 0, undef, 1);
	$p->result($p->command('createStream', undef));
	$p->close();
}

sub rtmp {
	my ($port, $app, $name) = @_;
	my $v = rtmp_connect(port($port), $app);
	$v->play($name);
	return $v;
}

sub plays {
	my ($v, $number) = @_;
	while (my $message = $v->read_video()) {
		return 1 if $message->{payload} eq key_frame($number);
	}
	return 0;
}

sub flv_plays {
	my ($port, $path, $number) = @_;
	my $player = http_flv(port($port), $path, headers => { Host => '127.0.0.1' }) or return 0;
	while (my $tag = $player->read_tag()) {
		return 1 if $tag->{payload} eq key_frame($number);
	}
	return 0;
}

sub logged {
	my ($like) = @_;
	return scalar grep { $_ =~ $like } split /\n/, $t->read_file('error.log');
}

# Domain, application and name of the last publisher that was asked about.
sub told {
	my @requests = $oclp->wait_requests('publish start', $n);
	return [@{$requests[-1]}{qw/ domain app name /}];
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
