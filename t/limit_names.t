#!/usr/bin/perl

# rtmp_limit_names: how many streams that nobody publishes the clients of one address may wait for,
# over all workers.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher video_header audio_header key_frame inter_frame audio_frame /;
use Test::Nginx::Conf;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http realip/)->plan(15);

flv_run($t, workers => 2, app => 'rtmp_limit_names 3;',
	rtmp => 'application free { live on; rtmp_limit_names off; }',
	location => 'set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;');

###############################################################################

# viewers of one address may be many, of streams that are there as well as of one that comes later

my @publishers = map { my $p = publisher("here$_"); $p->status(); $p } 1 .. 5;
published($_) for @publishers;
is(statuses(map { "/live/here$_" } 1 .. 5), '200 200 200 200 200', 'streams that are there');
my @crowd = map { play('/live/none1') } 1 .. 10;
is(join(' ', map { $_->status() } @crowd), join(' ', (200) x 10), 'many who wait for one');

# but not of many that are not

my @waiting = map { play("/live/none$_") } 2 .. 6;
is(join(' ', map { $_->status() } @waiting), '200 200 429 429 429', 'streams that are not');
is(statuses('/live/none3'), '200', 'one that is waited for already');
my $rtmp = rtmp_connect(port(1935), 'live');
$rtmp->play('none4');
is($rtmp->status(), 'NetStream.Play.Forbidden', 'by RTMP');
is(play('/live/none4', 'HEAD')->status(), 429, 'HEAD');
is(play('/live/none4', 'GET', '192.0.2.1')->status(), 200, 'another address');
is(statuses(map { "/free/none$_" } 1 .. 8), join(' ', (200) x 8), 'another application');

# one that comes counts no more; those who waited for it stay

my $p = publisher('none2');
is($p->status(), 'NetStream.Publish.Start', 'one of them is published');
$p->send_video(0, video_header());
# it may take a moment until the other worker takes it
my $n = 0;
ok(wait_for(sub {
	$p->send_video(40 * $n++, key_frame($n));
	return defined $waiting[0]->flags(0.1);
}, 20), 'who waited has it');
my $another;
ok(wait_for(sub { ($another = play('/live/none4'))->status() == 200 }), 'and may wait for another');

# so does one that nobody waits for any more
$_->close() for @crowd;
my $next;
ok(wait_for(sub { ($next = play('/live/none5'))->status() == 200 }), 'left');

like(conf_check($t, "rtmp { rtmp_limit_names $_; }"), qr/invalid value "$_".*or "off"/, "names $_")
	for 0, -1;
like(conf_check($t, 'rtmp { rtmp_limit_attempts 0; }'), qr/invalid value "0" in "rtmp_limit_attempts"/,
	'attempts 0');

###############################################################################

sub play {
	my ($uri, $method, $address) = @_;
	my %headers = $address ? ('X-Real-IP' => $address) : ();
	return http_flv(port(8080), $uri, method => $method // 'GET', headers => \%headers);
}

# those of players that are there at the same time
sub statuses {
	my @players = map { play($_) } @_;
	return join ' ', map { $_->status() } @players;
}
