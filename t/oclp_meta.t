#!/usr/bin/perl

# oclp_meta: a push that is asked about at a sequence header.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep time /;
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

    server {
        listen 127.0.0.1:8080;
        live on;
        relay_reconnect 400ms;
        publish_priority on;

        application pub {
            oclp_meta http://127.0.0.1:8081/push stage=start,update,done args=a=c&b=d timeout=1s
                      update=200ms groupid=g;
        }

        application two {
            oclp_meta http://127.0.0.1:8081/push groupid=1 stage=done;
            oclp_meta http://127.0.0.1:8081/push groupid=2 stage=done;
        }

        application excluded {
            oclp_push http://127.0.0.1:8081/push stage=done;
            oclp_meta http://127.0.0.1:8081/push stage=done;
        }
    }

    server {
        listen 127.0.0.1:8083;
        live on;
        cache_time 1s;

        application core {
            oclp_publish http://127.0.0.1:8082/seen;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
my $seen = oclp_server($t, port(8082));
my $core = 'rtmp://127.0.0.1:' . port(8083) . '/core';
$t->run();

###############################################################################

# the video header begins the push

$oclp->answer('meta start', status => 302, headers => [ Location => $core ]);
my $p = publisher('pub', 'name');
audio($p, 'a');
quiet('name', 0, 'not at publish, nor at an audio header');
video($p, 'v');
my ($start) = asked('name', 'start', 1);
is($start->{line}, 'GET /push?call=meta&act=start&domain=localhost&app=pub&name=name'
	. '&groupid=g&a=c&b=d HTTP/1.1', 'start, the request line');
my ($update) = asked('name', 'update', 1);
is($update->{line}, $start->{line} =~ s/start/update/r, 'update');
is(($seen->wait_requests('publish start', 1))[0]{name}, 'name', 'pushed');
my $player = rtmp_connect(port(8083), 'core');
$player->play('name');
$p->send_video(40, "\x17\x01\0\0\0key");
is(key($player), 'key', 'the stream arrives');

# once: another header changes nothing
video($p, 'w');
quiet('name', 1, 'asked once');
$p->close();
is((asked('name', 'done', 1))[0]{line}, $start->{line} =~ s/start/done/r, 'done');

# once for each publish
$p = publisher('pub', 'name');
video($p, 'v');
is(scalar(asked('name', 'start', 2)), 2, 'asked again for the next publisher');
$p->close();
asked('name', 'done', 2);

# the answers do what they do to a push

for my $status (204, 403, 404, 500) {
	$oclp->answer('meta start', status => $status);
	$p = publisher('pub', "status$status");
	video($p, 'v');
	is($p->read_status(), 'NetStream.Publish.BadName', "$status: the publisher ends");
}
$oclp->answer('meta start', { raw => '' }, { status => 302 },
	{ status => 302, headers => [ Location => 'http://127.0.0.1:1/x' ] },
	{ status => 302, headers => [ Location => $core ] });
$p = publisher('pub', 'again');
video($p, 'v');
is(scalar(asked('again', 'start', 4)), 4, 'no answer: asked again');
wait_for { grep { $_->{name} eq 'again' } $seen->requests() };
$p->close();
is(scalar(asked('again', 'done', 1)), 1, 'no answer: one done');

# each line its own

$p = publisher('two', 'two');
video($p, 'v');
is(join(' ', sort map { $_->{groupid} } (asked('two', 'start', 2))[0, 1]), '1 2', 'two lines');
$p->close();

# with oclp_push, oclp_meta is nothing

$oclp->answer('push start', status => 200);
$p = publisher('excluded', 'excluded');
video($p, 'v');
wait_for { grep { $_->{name} eq 'excluded' } $oclp->requests('push start') };
quiet('excluded', 0, 'oclp_push excludes oclp_meta');
is(scalar(grep { $_->{name} eq 'excluded' } $oclp->requests('push start')), 1, 'oclp_push asks');
like($t->read_file('error.log'), qr/\[warn\].*"oclp_meta" is ignored in an application that/,
	'warning');

# a refused publisher pushes nothing; nor does who stands by

$oclp->answer('meta start', status => 200);
$p = publisher('pub', 'standby');
video($p, 'v');
asked('standby', 'start', 1);
my $second = publisher('pub', 'standby?pubpri=1');
video($second, 'v');
quiet('standby', 1, 'another publisher of the same stream asks nothing');
is(publisher('pub', 'standby')->status(), 'NetStream.Publish.BadName', 'a third is refused');
quiet('standby', 1, 'and asks nothing');

###############################################################################

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->publish($name);
	return $p;
}

sub video { $_[0]->send_video(0, "\x17\x00\0\0\0$_[1]") }
sub audio { $_[0]->send_audio(0, "\xaf\x00$_[1]") }

sub asked {
	my ($name, $act, $count) = @_;
	my @asked;
	wait_for {
		@asked = grep { $_->{name} eq $name } $oclp->requests("meta $act");
		@asked >= $count;
	};
	return @asked;
}

# So many starts, and a while later no more.
sub quiet {
	my ($name, $count, $what) = @_;
	sleep(0.2);
	is(scalar(grep { $_->{name} eq $name } $oclp->requests('meta start')), $count, $what);
}

sub key {
	my ($p) = @_;
	my $message = $p->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && substr($_[0]{payload}, 1, 1) eq "\x01"
	});
	return $message ? substr($message->{payload}, 5) : undef;
}

###############################################################################
