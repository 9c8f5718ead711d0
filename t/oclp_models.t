#!/usr/bin/perl

# The configurations of the three models, as they are but for addresses and paths,
# with a scheduling server and real clients.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep time /;
use Test::Nginx::Media;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->plan(21 + 2);

my $core = Test::Nginx->new();
$core->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8083;

        application core {
            live on;
            cache_time 1s;
        }
    }
}

EOC
$core->run();

my $oclp = oclp_server($t, port(8081));
my $file = make_flv($t, 'media.flv', duration => 2, gop => 10);
my $origin = 'rtmp://127.0.0.1:' . port(8083) . '/core';
my $here = 'rtmp://127.0.0.1:' . port(8080);
my $common = 'domain=127.0.0.1';

###############################################################################

# basic: publisher, player, and both leave

run('oclp-basic.conf');
is((target($oclp->wait_requests('init_process', 1)))[0],
	'/oclp/v1/proc?call=init_process&worker_id=0', 'a worker starts');

my $publisher = ffmpeg_publish($t, $file, "$here/test/name", loop => -1);
$oclp->wait_requests('stream start', 1);
my $player = ffmpeg_play($t, "$here/test/name", frames => 20);
is($player->wait(), 0, 'basic: a player plays');
$oclp->wait_requests('play done', 1);
$publisher->stop();
$oclp->wait_requests('stream done', 1);

my @seen = target(grep { $_->{call} ne 'init_process' } $oclp->requests());
my @expected = map {
	my ($call, $act) = split / /;
	"/oclp/v1/$call?call=$call&act=$act&$common&app=test&name=name&a=c&b=d"
} 'publish start', 'stream start', 'play start', 'play done', 'publish done', 'stream done';
is(shift @seen, shift @expected, 'basic: request') while @expected;
is(scalar(@seen), 0, 'basic: no more');

# whom the server refuses; and a player of what nobody publishes

$oclp->answer('publish start', status => 403);
my $p = rtmp_connect(port(8080), 'test');
is($p->publish('refused'), 'NetStream.Publish.Forbidden', 'basic: refused');
$p = rtmp_connect(port(8080), 'test');
is($p->play('nobody'), 'NetStream.Play.StreamNotFound', 'basic: nobody publishes');
$t->stop();

# pull: the server says where the stream is

my $seen = $oclp->requests();
run('oclp-pull.conf');
$publisher = ffmpeg_publish($t, $file, "$origin/name", loop => -1);
$oclp->answer('pull start', status => 302, headers => [ Location => "$origin/name" ]);
my @players = map { ffmpeg_play($t, "$here/edge/name", frames => 20) } 1 .. 2;
is($_->wait(), 0, 'pull: a player plays') for @players;
$oclp->wait_requests('pull done', 1);
@seen = target(($oclp->requests())[$seen .. $oclp->requests() - 1]);
is($seen[0], "/oclp/v1/pull?call=pull&act=start&$common&app=edge&name=name&a=c&b=d",
	'pull: start');
is($seen[-1], $seen[0] =~ s/start/done/r, 'pull: done');
$oclp->answer('pull start', status => 404);
$p = rtmp_connect(port(8080), 'edge');
$p->play('nobody');
is($p->status() eq 'NetStream.Play.Start' ? $p->read_status() : $p->status(),
	'NetStream.Play.StreamNotFound', 'pull: the server knows nobody');
$publisher->stop();
$t->stop();

# push: the server says where the stream goes, once its header is there

$seen = $oclp->requests();
run('oclp-push.conf');
$oclp->answer('meta start', status => 302, headers => [ Location => "$origin/pushed" ]);
$publisher = ffmpeg_publish($t, $file, "$here/pub/name", loop => -1);
$oclp->wait_requests('meta start', 1);
$player = ffmpeg_play($t, "$origin/pushed", frames => 20);
is($player->wait(), 0, 'push: a player plays where it goes');
$publisher->stop();
$oclp->wait_requests('meta done', 1);
@seen = target(($oclp->requests())[$seen .. $oclp->requests() - 1]);
is($seen[0], "/oclp/v1/push?call=meta&act=start&$common&app=pub&name=name&a=c&b=d",
	'push: start');
is($seen[-1], $seen[0] =~ s/start/done/r, 'push: done');
is(scalar(@seen), 2, 'push: no more');

$oclp->answer('meta start', status => 404);
$p = rtmp_connect(port(8080), 'pub');
$p->publish('refused');
$p->send_video(0, "\x17\x00\0\0\0header");
is($p->read_status(), 'NetStream.Publish.BadName', 'push: refused');

###############################################################################

sub run {
	my ($name) = @_;

	open my $file, '<', "../nginx-conf/$name" or die "$name: $!\n";
	my $conf = join '', <$file>;
	# the test's own are in its globals
	$conf =~ s/^(?:load_module|error_log|pid) .*\n//mg;
	$conf =~ s/listen 1935;/listen 127.0.0.1:8080;/;
	$conf =~ s/127\.0\.0\.1:6200/127.0.0.1:8081/g;
	$conf =~ s/^rtmp \{/rtmp {\n    rtmp_auto_pull_port unix:%%TESTDIR%%\/rtmp;/m;
	$t->write_file_expand('nginx.conf', "%%TEST_GLOBALS%%\ndaemon off;\n"
		. "worker_shutdown_timeout 1s;\n$conf");
	$t->run();
}

sub target { map { $_->{target} } @_ }

# the subs hold it, and it must end before the tests are counted
undef $_ for $core, $t;

###############################################################################
