#!/usr/bin/perl

# Tests for relays with node-media-server (npm) as the other side, in both roles, and for
# a pull of its HTTP-FLV: frames come through as they were.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Digest::SHA qw/ hmac_sha256 /;
use JSON::PP;
use MIME::Base64 qw/ encode_base64url /;
use Test::Nginx;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# where scripts/test installs it
my $PACKAGE = $ENV{TEST_NODE_MEDIA_SERVER}
	// ($ENV{CARGO_TARGET_DIR} // "$FindBin::Bin/../target") . '/bench/node-media-server';
my $PROGRAM = "$PACKAGE/node_modules/node-media-server/bin/app.js";
my $SECRET = 'of the test';

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->has_daemon('node');
plan(skip_all => "no npm package node-media-server in $PACKAGE") if !-e $PROGRAM;
$t->plan(10);

relay_run($t, near => <<'EOC');
        }

        application pushes {
            live on;
            cache_time 1s;
            push rtmp://127.0.0.1:%%PORT_8085%%/taken;
        }

        application pulls {
            live on;
            cache_time 1s;
            pull rtmp://127.0.0.1:%%PORT_8085%%/plain;
        }

        application pullsflv {
            live on;
            cache_time 1s;
            pull http://127.0.0.1:%%PORT_8086%%/plain/$name.flv;
EOC

my $dir = $t->testdir() . '/nms';
mkdir $dir;
$t->write_file('nms/config.json', encode_json({
	bind => '127.0.0.1',
	rtmp => { port => port(8085) + 0 },
	http => { port => port(8086) + 0 },
	# its interface for relays asks for a token
	auth => { secret => $SECRET, jwt => { secret => $SECRET, users => [] } },
	notify => { url => '' },
	store => { path => "$dir/data" },
	record => { auto => JSON::PP::false, path => "$dir/record" },
	webadmin => { enable => JSON::PP::false },
}));
my $nms = spawn($t, 'node', $PROGRAM, '-c', "$dir/config.json");
for (8085, 8086) {
	$t->waitforsocket('127.0.0.1:' . port($_))
		or die "node-media-server does not start\n", $nms->output();
}

###############################################################################

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);

my ($here, $there) = map { 'rtmp://127.0.0.1:' . port($_) } 1935, 8085;

relays('our push', "$here/pushes/1", "$there/taken/1");
relays('our pull', "$there/plain/2", "$here/pulls/2");
relays('our pull over HTTP-FLV', "$there/plain/3", "$here/pullsflv/3");
relays('their push', "$there/plain/4", "$here/live/4", push => '/plain/4', "$here/live/4");
relays('their pull', "$here/live/5", "$there/taken/5", pull => '/taken/5', "$here/live/5");

###############################################################################

# Publishes to one url, plays another, and compares; a task is for it to relay.
sub relays {
	my ($what, $from, $to, @task) = @_;

	my $pulls = @task && $task[0] eq 'pull';
	# it loses the headers that come at once with the consent to play, so it is there first
	relay(@task) if $pulls;
	my $publisher = ffmpeg_publish($t, $file, $from, loop => -1);
	if (@task && !$pulls) {
		# it does not push what is not there yet
		frames($t, $from, frames => 1);
		relay(@task);
	}
	my @got = frames($t, $to, frames => 50, options => [qw/ -analyzeduration 5000000 /]);
	$publisher->stop();
	is_run_of([hashes(0, @got)], [hashes(0, @source)], "$what, video");
	is_run_of([hashes(1, @got)], [hashes(1, @source)], "$what, audio");
}

# Tells it to relay a stream from or to an url.
sub relay {
	my ($mode, $stream, $url) = @_;

	my $token = join '.', map { encode_base64url(encode_json($_)) }
		{ alg => 'HS256', typ => 'JWT' }, { username => 'test' };
	$token .= '.' . encode_base64url(hmac_sha256($token, $SECRET));
	my $body = encode_json({ mode => $mode, streamPath => $stream, url => $url });
	my $answer = http(join("\r\n", 'POST /api/v1/relay HTTP/1.0', "Authorization: Bearer $token",
		'Content-Type: application/json', 'Content-Length: ' . length($body), '', $body),
		PeerAddr => '127.0.0.1:' . port(8086)) // '';
	$answer =~ m{^HTTP/1.. 200} or diag("no relay: $answer");
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
