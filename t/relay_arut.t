#!/usr/bin/perl

# Tests for relays with arut's nginx-rtmp-module (Debian's libnginx-mod-rtmp) as the
# other side, in both roles: frames come through as they were.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Media;
use Test::Nginx::Process;
use Test::Nginx::Relay;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $MODULE = $ENV{TEST_NGINX_ARUT} || '/usr/lib/nginx/modules/ngx_rtmp_module.so';

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->has_daemon('/usr/sbin/nginx');
plan(skip_all => "no $MODULE") if !-e $MODULE;
$t->plan(8);

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
EOC

mkdir $t->testdir() . '/arut';
$t->write_file_expand('arut/nginx.conf', <<"EOC");

daemon off;
master_process off;
pid %%TESTDIR%%/arut/nginx.pid;
error_log %%TESTDIR%%/arut/error.log info;
load_module $MODULE;

events {
}

rtmp {
    server {
        listen 127.0.0.1:%%PORT_8085%%;

        application plain {
            live on;
        }

        application taken {
            live on;
        }

        application pushes {
            live on;
            push rtmp://127.0.0.1:%%PORT_1935%%/live;
        }

        application pulls {
            live on;
            pull rtmp://127.0.0.1:%%PORT_1935%%/live;
        }
    }
}

EOC

my $arut = spawn($t, '/usr/sbin/nginx', '-p', $t->testdir() . '/arut/', '-c',
	$t->testdir() . '/arut/nginx.conf', '-e', $t->testdir() . '/arut/error.log');
$t->waitforsocket('127.0.0.1:' . port(8085)) or die "arut's nginx does not start\n";

###############################################################################

my $file = make_flv($t, 'source.flv', duration => 2);
my @source = frames($t, $file);

relays('our push', 1935, 'pushes', 8085, 'taken');
relays('our pull', 8085, 'plain', 1935, 'pulls');
relays('their push', 8085, 'pushes', 1935, 'live');
relays('their pull', 1935, 'live', 8085, 'pulls');

###############################################################################

sub relays {
	my ($what, $from, $app, $to, $there) = @_;

	my $name = $what =~ tr/ /-/r;
	my $publisher = ffmpeg_publish($t, $file,
		'rtmp://127.0.0.1:' . port($from) . "/$app/$name", loop => -1);
	my $player = ffmpeg_play($t, 'rtmp://127.0.0.1:' . port($to) . "/$there/$name",
		# it has no cache, so that audio comes alone up to the next key frame
		frames => 50, options => [qw/ -analyzeduration 5000000 /]);
	my @got = frames($t, $player);
	is_run_of([hashes(0, @got)], [hashes(0, @source)], "$what, video");
	is_run_of([hashes(1, @got)], [hashes(1, @source)], "$what, audio");
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
