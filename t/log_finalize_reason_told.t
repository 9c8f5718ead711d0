#!/usr/bin/perl

# $finalize_reason has its value where the end of a client is told: in the access log, to which HTTP players
# belong as RTMP clients do, and in the done of oclp_publish and oclp_play.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live qw/ publisher player video_header key_frame /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(11);

flv_run($t, rtmp => <<'EOC', app => <<'EOC2');
        log_format end '$scheme $command $name $finalize_reason';
        access_log %%TESTDIR%%/end.log end;

        application closed {
            live on;
            idle_streams off;
        }

        application short {
            live on;
            idle_timeout 200ms;
        }
EOC
            oclp_publish http://127.0.0.1:%%PORT_8081%%/ stage=start,done args=end=$finalize_reason;
            oclp_play http://127.0.0.1:%%PORT_8081%%/ stage=start,done args=end=$finalize_reason;
            deny play 127.0.0.2;
EOC2
my $oclp = oclp_server($t, port(8081));

###############################################################################

# The line of the session that ends now.
my $seen = 0;
sub ended {
	my @lines;
	wait_for { @lines = split /\n/, -e $t->testdir() . '/end.log' ? $t->read_file('end.log') : ''; @lines > $seen };
	return $lines[$seen++] // '';
}

# What the scheduler hears at the end of the newest client.
my %done;
sub done {
	my ($call) = @_;
	my @requests = $oclp->wait_requests("$call done", ++$done{$call});
	return $requests[-1]{args};
}

my $flv = flv_play('a');
is(scalar($oclp->wait_requests('play start', 1)), 1, 'an HTTP player is asked about');
$flv->close();
is(ended(), 'http PLAY a closed by the client', 'HTTP player that closes');
is(done('play'), 'end=closed%20by%20the%20client', 'told');

my $p = publisher('b');
$p->send_video(0, $_) for video_header(), key_frame(1);
my $ws = websocket(port(8080), '/live/b');
$ws->close();
is(ended(), 'http PLAY b closed by the client', 'so does one by WebSocket');
done('play');

$flv = http_flv(port(8080), '/live/b', from => '127.0.0.2');
is(ended(), 'http PLAY b refused: access is denied', 'HTTP player that is refused');

$p->send_command(1, 'deleteStream', 0, undef, 1);
$p->read_status();
is(done('publish'), 'end=unpublished', 'publisher that unpublishes, told');
$p->close();
ended();

my $v = player('c');
$v->send_command(1, 'closeStream', 0, undef);
$v->read_status();
is(done('play'), 'end=stopped', 'RTMP player that stops, told');
$v->close();
ended();

http_flv(port(8080), '/closed/d');
is(ended(), 'http PLAY d refused: nobody publishes the stream', 'HTTP player of a stream that is not there');
$flv = http_flv(port(8080), '/short/e');
is(ended(), 'http PLAY e not found: nobody publishes the stream', 'HTTP player that has waited');

$p = publisher('f');
$p->abort();
like(done('publish'), qr/^end=connection%20failed:/, 'publisher that is cut off, told');
like(ended(), qr/^rtmp PUBLISH f connection failed: /, 'and logged');

###############################################################################

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
