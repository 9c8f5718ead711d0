#!/usr/bin/perl

# oclp_meta_type: the sequence headers at which oclp_meta asks.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep /;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(21);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    live on;

    oclp_meta_type audio;

    server {
        listen 127.0.0.1:8080;

        application inherits {
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }

        application video {
            oclp_meta_type video;
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }

        application both {
            oclp_meta_type both;
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }
    }

    server {
        listen 127.0.0.1:8082;
        oclp_meta_type both;

        application server {
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }
    }

    server {
        listen 127.0.0.1:8083;
        application core { }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$oclp->answer('meta start', status => 302, headers => [ Location => 'rtmp://127.0.0.1:' . port(8083) . '/core' ]);
$t->run();

###############################################################################

# at audio headers, as the block around says

my $p = publisher('inherits', 'audio');
video($p, 'v');
asked('audio', 0, 'audio: not at a video header');
audio($p, 'a');
asked('audio', 1, 'audio: at an audio header');
$p->close();
done('audio');

# at video headers

$p = publisher('video', 'video');
audio($p, 'a');
asked('video', 0, 'video: not at an audio header');
video($p, 'v');
asked('video', 1, 'video: at a video header');
$p->close();
done('video');

# at whatever comes first, once

for my $app (qw/ both server /) {
	for my $first (qw/ audio video /) {
		my $name = "$app-$first";
		$p = publisher($app, $name);
		main->can($first)->($p, 'x');
		asked($name, 1, "$name: at the first header");
		audio($p, 'y');
		video($p, 'y');
		asked($name, 1, "$name: not at the second");
		$p->close();
		done($name);
	}
}

# enhanced RTMP's headers are some, too; frames and metadata are none

$p = publisher('video', 'enhanced');
$p->send_video(0, "\x90hvc1header");
asked('enhanced', 1, 'video: at an enhanced header');
$p->close();
done('enhanced');
$p = publisher('both', 'frames');
$p->send_video(0, "\x17\x01\0\0\0key");
$p->send_video(0, "\x27\x01\0\0\0inter");
$p->send_audio(0, "\xaf\x01frame");
$p->send_data(0, '@setDataFrame', 'onMetaData', { width => 1 });
asked('frames', 0, 'frames and metadata are no headers');
$p->close();

###############################################################################

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port($app eq 'server' ? 8082 : 8080), $app);
	$p->publish($name);
	return $p;
}

sub video { $_[0]->send_video(0, "\x17\x00\0\0\0$_[1]") }
sub audio { $_[0]->send_audio(0, "\xaf\x00$_[1]") }

# The starts, once there are so many; and a while later no more.
sub asked {
	my ($name, $count, $what) = @_;
	my $starts = sub { grep { $_->{name} eq $name } $oclp->requests('meta start') };
	wait_for { $count <= (() = $starts->()) };
	sleep(0.1);
	is(scalar(() = $starts->()), $count, $what);
}

sub done {
	my ($name) = @_;
	my $dones = sub { grep { $_->{name} eq $name } $oclp->requests('meta done') };
	wait_for { $dones->() };
	is(scalar(() = $dones->()), 1, "$name: done of the one relay");
}

###############################################################################
