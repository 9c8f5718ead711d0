#!/usr/bin/perl

# Every configuration of the document that the callbacks come from, as it stands there but for
# addresses: it is run, and does what the document says of it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::INET;
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Test::Nginx::Relay qw/ rtmp_server rtmp_accept /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# the addresses of the document, and the ports that stand for them here
my %ports = ('listen 1935;' => 1935, '127.0.0.1:6200' => 6200, '101.200.241.232:11939' => 8082);

my $oclp_server = Test::Nginx->new()->plan(46);
my $oclp = oclp_server($oclp_server, port(6200));
my $core = 'rtmp://127.0.0.1:' . port(8083);
my $target = rtmp_server(port(8083));
my @answer;

###############################################################################

# static push

with(<<'EOC', sub {
rtmp {
    server {
        listen 1935;
        application live {
            live on;
            push rtmp://xxx/xxx;
		}
    }
}
EOC
	my $p = publisher('live', 's');
	my $peer = rtmp_accept($target);
	is("$peer->{connect}{app} $peer->{name}", 'xxx s', 'static push: what is published goes there');
	$_->close() for $peer, $p;
}, 'rtmp://xxx' => 'rtmp://127.0.0.1:%%PORT_8083%%');

# static pull, over RTMP and over HTTP-FLV

my $pull = <<'EOC';
rtmp {
    server {
        listen 1935;
        application live {
            live on;
            pull rtmp://xxx/xxx;
		}
    }
}
EOC

with($pull, sub {
	my $v = player('live', 's');
	my $peer = rtmp_accept($target);
	is("$peer->{connect}{app} $peer->{name}", 'xxx s', 'static pull: what is played comes from there');
	$_->close() for $peer, $v;
}, 'rtmp://xxx' => 'rtmp://127.0.0.1:%%PORT_8083%%');

my $http = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => port(8082), Listen => 5, Reuse => 1)
	or die "cannot listen: $!\n";
with($pull, sub {
	my $v = player('live', 's');
	my ($socket, $request) = request();
	like($request, qr{^GET /xxx/s HTTP/1\.1\r\n}, 'static pull over HTTP-FLV');
	close $socket;
	$v->close();
}, 'rtmp://xxx' => 'http://127.0.0.1:%%PORT_8082%%');

# the basic model

with(<<'EOC', sub {
application test {
    live on;
    cache_time 3s;
    idle_streams off;
    oclp_publish http://127.0.0.1:6200/oclp/v1/publish stage=start,done args=a=c&b=d;
    oclp_play    http://127.0.0.1:6200/oclp/v1/play    stage=start,done args=a=c&b=d;
    oclp_stream  http://127.0.0.1:6200/oclp/v1/stream  stage=start,done args=a=c&b=d;
}
EOC
	my $about = 'domain=localhost&app=test&name=s&a=c&b=d';
	my $p = publisher('test', 's');
	is($p->status(), 'NetStream.Publish.Start', 'basic: a publisher');
	heard("/oclp/v1/publish?call=publish&act=start&$about", "/oclp/v1/stream?call=stream&act=start&$about");
	my $v = player('test', 's');
	is($v->status(), 'NetStream.Play.Start', 'a player');
	heard("/oclp/v1/play?call=play&act=start&$about");
	is(substr(($v->read_until(sub { $_[0]{payload} =~ /key/ }) // {})->{payload} // '', 5), 'key', 'plays');
	$v->close();
	heard("/oclp/v1/play?call=play&act=done&$about");
	$p->close();
	heard("/oclp/v1/publish?call=publish&act=done&$about", "/oclp/v1/stream?call=stream&act=done&$about");

	is(player('test', 'nothing')->status(), 'NetStream.Play.StreamNotFound', 'idle_streams off');
	heard('/oclp/v1/play?call=play&act=start&domain=localhost&app=test&name=nothing&a=c&b=d',
		'/oclp/v1/play?call=play&act=done&domain=localhost&app=test&name=nothing&a=c&b=d');

	$oclp->answer('*', status => 403);
	is(publisher('test', 's')->status(), 'NetStream.Publish.Forbidden', 'a publisher that is refused');
	is(player('test', 's')->status(), 'NetStream.Play.Forbidden', 'a player that is refused');
	heard(map { "/oclp/v1/$_?call=$_&act=start&$about" } qw/ publish play /);
});

# the model of pulls: the server says where, and the line pull beside it is not used

my $edge = <<'EOC';
application edge {
    live on;
    cache_time 3s;
    low_latency on;
    oclp_pull     http://127.0.0.1:6200/oclp/v1/pull    stage=start,update,done args=a=c&b=d;
    pull http://101.200.241.232:11939/core app=core;
}
EOC

with($edge, sub {
	my $about = 'domain=localhost&app=edge&name=s&a=c&b=d';
	$oclp->answer('pull start', status => 302, headers => [ Location => "$core/core/there?k=v" ]);
	my $v = player('edge', 's');
	my $peer = rtmp_accept($target);
	is("$peer->{connect}{app} $peer->{name}", 'core there?k=v', 'pull: from Location, over RTMP');
	send_media($peer);
	ok($v->read_until(sub { $_[0]{payload} =~ /key/ }), 'played');
	$v->close();
	heard(map { "/oclp/v1/pull?call=pull&act=$_&$about" } qw/ start done /);
	$peer->close();

	$oclp->answer('pull start', status => 302,
		headers => [ Location => 'http://127.0.0.1:' . port(8082) . '/core/there', Domain => 'origin.example' ]);
	$v = player('edge', 's');
	my ($socket, $request) = request();
	like($request, qr{^GET /core/there HTTP/1\.1\r\n.*^Host: origin\.example\r\n}ms, 'over HTTP-FLV, with its Domain');
	$v->close();
	close $socket;
	heard(map { "/oclp/v1/pull?call=pull&act=$_&$about" } qw/ start done /);

	$oclp->answer('pull start', status => 404);
	is(player('edge', 's')->read_status(), 'NetStream.Play.StreamNotFound', '404 ends the players');
	$oclp->answer('pull start', status => 200);
	$v = player('edge', 's');
	heard(("/oclp/v1/pull?call=pull&act=start&$about") x 2);
	$v->close();
});

# the model of pushes: at the sequence header, or (the line that is a comment) at publish

my $push = <<'EOC';
application pub {
    live on;
    #oclp_push    http://127.0.0.1:6200/oclp/v1/push    stage=start,update,done args=a=c&b=d timeout=1s;
    oclp_meta    http://127.0.0.1:6200/oclp/v1/push    stage=start,update,done args=a=c&b=d timeout=1s;
}
EOC

for my $call (qw/ meta push /) {
	my $lines = $call eq 'meta' ? $push : $push =~ s/#//r;
	with($lines, sub {
		my $about = 'domain=localhost&app=pub&name=s&a=c&b=d';
		$oclp->answer("$call start", status => 302, headers => [ Location => "$core/core/there" ]);
		my $p = publisher('pub', 's');
		my $peer = rtmp_accept($target);
		is("$peer->{connect}{app} $peer->{name}", 'core there', "$call: to Location");
		# the relay may not be established yet
		ok(wait_for {
			send_media($p);
			$peer->read_until(sub { ($_[0]{payload} // '') =~ /key/ }, 0.2);
		}, 'pushed');
		$p->close();
		heard(map { "/oclp/v1/push?call=$call&act=$_&$about" } qw/ start done /);
		$peer->close();

		$oclp->answer("$call start", status => 500);
		is(publisher('pub', 's')->read_status(), 'NetStream.Publish.BadName', '500 ends the publisher');
		heard("/oclp/v1/push?call=$call&act=start&$about");
	});
}

###############################################################################

# Runs nginx with this part of the document, and more texts that stand for others here.
sub with {
	my ($text, $code, %more) = @_;
	my $t = Test::Nginx->new();
	my $conf = $text =~ /^rtmp/ ? $text : "rtmp {\n    server {\n        listen 1935;\n$text    }\n}\n";
	$conf =~ s/\Q$_\E/$more{$_}/g for keys %more;
	for my $address (keys %ports) {
		my $port = "%%PORT_$ports{$address}%%";
		my $here = $address =~ /^listen/ ? "listen 127.0.0.1:$port;" : "127.0.0.1:$port";
		$conf =~ s/\Q$address\E/$here/g;
	}
	$conf =~ s/^rtmp \{/rtmp {\n    rtmp_auto_pull_port unix:%%TESTDIR%%\/rtmp;/;
	$t->write_file_expand('nginx.conf',
		"%%TEST_GLOBALS%%\ndaemon off;\nworker_shutdown_timeout 1s;\nevents {\n}\n$conf");
	$t->run();
	$oclp->answer('*', status => 200);
	@answer = $oclp->requests();
	$code->();
	$t->stop();
}

# The requests since the last time, in any order.
sub heard {
	my (@expected) = @_;
	my $seen = @answer;
	my @all = $oclp->wait_requests('*', $seen + @expected);
	is_deeply([ sort map { $_->{target} } @all[$seen .. $#all] ], [ sort @expected ],
		'heard: ' . join(', ', map { m{call=(\w+)&act=(\w+)}; "$1 $2" } @expected));
	@answer = @all;
}

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(1935), $app);
	$p->publish($name);
	send_media($p);
	return $p;
}

sub player {
	my ($app, $name) = @_;
	my $v = rtmp_connect(port(1935), $app);
	$v->play($name);
	return $v;
}

sub send_media {
	my ($to) = @_;
	$to->send_video(0, "\x17\x00\0\0\0header");
	$to->send_video(0, "\x17\x01\0\0\0key");
}

# The next HTTP request, and its connection.
sub request {
	$http->timeout(10);
	my $socket = $http->accept() or return;
	my $request = '';
	while ($request !~ /\r\n\r\n/) {
		sysread($socket, $request, 4096, length $request) or last;
	}
	return ($socket, $request);
}

###############################################################################
