#!/usr/bin/perl

# oclp_meta_once: whether oclp_meta asks at the first sequence header only, or at each
# that is another.

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

my $t = Test::Nginx->new()->plan(19);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    live on;
    oclp_meta_type both;
    oclp_meta_once off;

    server {
        listen 127.0.0.1:8080;

        application each {
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }

        application once {
            oclp_meta_once on;
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }
    }

    server {
        listen 127.0.0.1:8082;
        oclp_meta_once on;

        application server {
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }
    }

    server {
        listen 127.0.0.1:8083;
        application core {
            oclp_publish http://127.0.0.1:8081/seen;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
my @redirect = (status => 302, headers => [ Location => 'rtmp://127.0.0.1:' . port(8083) . '/core' ]);
$t->run();

###############################################################################

# once for each publish, whether there is a relay or not

for my $app (qw/ once server /) {
	for my $answer ([ status => 200 ], [ @redirect ]) {
		my $name = "$app-$answer->[1]";
		$oclp->answer('meta start', @$answer);
		my $p = publisher($app, $name);
		video($p, 'v');
		asked($name, 1, "$name: at the first header");
		video($p, 'w');
		audio($p, 'a');
		asked($name, 1, "$name: not at another");
		$p->close();
		done($name) if $answer->[1] == 302;
	}
	my $p = publisher($app, "$app-200");
	video($p, 'v');
	asked("$app-200", 2, "$app: again for the next publisher");
	$p->close();
}

# every change

$oclp->answer('meta start', status => 200);
my $p = publisher('each', 'each');
video($p, 'v');
asked('each', 1, 'each: the first header');
video($p, 'v');
asked('each', 1, 'each: not at the same one again');
video($p, 'w');
asked('each', 2, 'each: at a changed one');
audio($p, 'a');
asked('each', 3, 'each: at one of another kind');
$oclp->answer('meta start', @redirect);
video($p, 'x');
asked('each', 4, 'each: asked, and a relay is made');
wait_for { grep { $_->{name} eq 'each' } $oclp->requests('publish start') };
video($p, 'y');
asked('each', 5, 'each: and asked again while it runs');
$p->close();
done('each');

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
