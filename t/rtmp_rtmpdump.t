#!/usr/bin/perl

# rtmpdump, the oldest of the clients: it records what ffmpeg publishes, byte for
# byte, with the several ways it has to name a stream.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::FLV;
use Test::Nginx::Media;
use Test::Nginx::Process;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('ffmpeg')->has_daemon('rtmpdump');

my $server = 'rtmp://127.0.0.1:' . port(1935);
my %ways = (
	'by its url' => ['-r', "$server/live/stream"],
	'by app and playpath' => ['-r', $server, '-a', 'live', '-y', 'stream'],
	'with arguments' => ['-r', "$server/live", '-y', 'stream?key=value&pubpri=1'],
	'with tcUrl, pageUrl and swfUrl' => ['-r', "$server/live/stream",
		'-t', 'rtmp://example.com/live', '-p', 'http://example.com/page',
		'-s', 'http://example.com/player.swf'],
	'with members of the connect object' => ['-r', "$server/live/stream",
		'-C', 'B:1', '-C', 'S:string', '-C', 'O:1', '-C', 'NN:number:3.5',
		'-C', 'O:0'],
);

$t->plan(3 * keys %ways);

$t->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    server {
        listen 127.0.0.1:%%PORT_1935%%;

        application live {
            live on;
            cache_time 1s;
        }
    }
}

EOF

$t->run();

###############################################################################

my $file = make_flv($t, 'source.flv', duration => 2);
my @sent = flv_tags($file);
my $publisher = ffmpeg_publish($t, $file, "$server/live/stream", loop => -1);

my %record;
for my $way (sort keys %ways) {
	my $file = $t->testdir() . '/record-' . keys(%record) . '.flv';
	$record{$way} = {
		file => $file,
		process => rtmpdump_play($t, $file, @{$ways{$way}}),
	};
}

for my $way (sort keys %ways) {
	my $record = $record{$way};
	my @tags;

	wait_for {
		@tags = eval { flv_tags($record->{file}) };
		40 < grep { flv_kind($_) eq 'frame' } @tags;
	};
	$record->{process}->stop();

	for my $type (FLV_VIDEO, FLV_AUDIO) {
		is_run_of([frames_of($type, @tags)], [frames_of($type, @sent)],
			"$way, type $type");
	}
	my ($first) = grep { $_->{type} == FLV_VIDEO && flv_kind($_) ne 'header' }
		@tags;
	is($first && flv_kind($first), 'key', "$way, first frame");
}

###############################################################################

sub frames_of {
	my ($type, @tags) = @_;
	return flv_payloads($type, grep { flv_kind($_) !~ /header|end/ } @tags);
}

###############################################################################
