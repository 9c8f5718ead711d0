#!/usr/bin/perl

# done comes exactly once for everyone who was let in, in whatever state they leave,
# also when the worker is told to leave.

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

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my $LIVES = $ENV{TEST_NGINX_LONG} ? 10000 : $SLOW > 1 ? 400 : 800;

my $t = Test::Nginx->new()->plan(29 + 2);

# so long that what the server says in time is never too late
my $timeout = 1000 * $SLOW . 'ms';
$t->write_file_expand('nginx.conf', <<'EOC' =~ s/%%TIMEOUT%%/$timeout/gr);

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;
worker_shutdown_timeout 1s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;
        live on;

        application test {
            oclp_publish http://127.0.0.1:8081/p stage=update,done timeout=%%TIMEOUT%% update=10ms;
            oclp_play http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_stream http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
        }

        application pull {
            oclp_play http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_publish http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_stream http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_pull http://127.0.0.1:8081/p stage=update,done timeout=%%TIMEOUT%% update=10ms;
        }

        application push {
            oclp_publish http://127.0.0.1:8081/p stage=update,done timeout=%%TIMEOUT%% update=10ms;
            oclp_stream http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_push http://127.0.0.1:8081/one stage=update,done timeout=%%TIMEOUT%% update=10ms;
            oclp_push http://127.0.0.1:8081/two stage=done timeout=%%TIMEOUT%%;
        }

        application meta {
            oclp_meta_once off;
            oclp_publish http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_stream http://127.0.0.1:8081/p stage=done timeout=%%TIMEOUT%%;
            oclp_meta http://127.0.0.1:8081/one stage=update,done timeout=%%TIMEOUT%% update=10ms;
            oclp_meta http://127.0.0.1:8081/two stage=done timeout=%%TIMEOUT%%;
        }
    }
}

EOC

# where it pulls from and pushes to

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
        live on;
        cache_time 1s;
        application core { }
    }
}

EOC
$core->run();

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# each way to leave, once let in

my $dones = 0;
for my $way (qw/ close abort closeStream deleteStream garbage /) {
	for my $role (qw/ publish play /) {
		my $p = rtmp_connect(port(8080), 'test');
		$p->$role("way-$way");
		leave($p, $way);
		is(scalar(dones($role, "way-$way", 1)), 1, "$role, $way");
	}
}

# while the decision is being made: the server has let it in, and hears that it has left

$oclp->answer('publish start', status => 200, delay => 0.2);
$oclp->answer('play start', status => 200, delay => 0.2);
for my $role (qw/ publish play /) {
	ask($role, "pending-$role");
	is(scalar(dones($role, "pending-$role", 1)), 1, "$role, left while pending");
}

# and if it is not let in, or the server says nothing, it is as with one who stays

$oclp->answer('publish start', status => 403, delay => 0.2);
ask('publish', 'refused');
$oclp->answer('publish start', hang => 1);
ask('publish', 'hanging');
is(scalar(dones('publish', 'hanging', 1)), 1, 'left while nobody answers');
is(scalar(dones('publish', 'refused', 0)), 0, 'left, and was not let in');

# many lives, short and by chance, with reloads in between

my $publisher = rtmp_connect(port(8083), 'core');
$publisher->publish('steady');
$publisher->send_video(0, "\x17\x00\0\0\0header");
$publisher->send_video(0, "\x17\x01\0\0\0key");

my $url = 'rtmp://127.0.0.1:' . port(8083) . '/core';
my @late = map { $_ / 200 } 0 .. 5;
for my $call (qw/ publish play stream pull push meta /) {
	$oclp->answer("$call $_", status => 200) for qw/ start update done /;
}
for my $event ('publish start', 'play start') {
	$oclp->answer_by_chance($event, (map { { status => 200, delay => $_ } } @late, @late, @late),
		{ status => 200 }, { status => 403 }, { status => 302, delay => 0.01 }, { raw => "no\x0d\x0a" },
		{ hang => 1 });
}
for my $event ('pull start', 'push start', 'meta start') {
	my $to = $event =~ /pull/ ? "$url/steady" : $url;
	$oclp->answer_by_chance($event,
		(map { { status => 302, delay => $_, headers => [ Location => $to ] } } @late, @late, @late),
		# a relay that never gets through is told of all the same
		{ status => 302, headers => [ Location => 'rtmp://127.0.0.1:1/x' ] },
		{ status => 200 }, { status => 404, delay => 0.01 }, { raw => "no\x0d\x0a" }, { hang => 1 });
}

my @alive;
for my $life (1 .. $LIVES) {
	my $app = (qw/ test pull push meta /)[rand(4)];
	my $role = rand() < ($app =~ /push|meta/ ? 0.8 : $app eq 'pull' ? 0.15 : 0.3) ? 'publish' : 'play';
	my $p = rtmp_open(port(8080)) or next;
	my @steps = (
		sub { $p->handshake() },
		sub { $p->result($p->command('connect', { app => $app, tcUrl => "rtmp://h/$app" })) },
		sub { $p->create_stream() },
		sub { $p->send_command($p->{stream}, $role, 5, undef, 'life' . int(rand(8))) },
		sub { $p->read_status(rand(0.05)) },
		sub { $p->send_video(0, "\x17\x00\0\0\0header$life") },
		sub { $p->read_media(0.01) },
		sub { push @alive, $p },
	);
	for my $step (@steps[0 .. (rand() < 0.2 ? rand(@steps) : $#steps)]) {
		$step->();
		last if !$p->{socket} || $p->{eof};
	}
	leave($p, (qw/ close abort deleteStream /)[rand(3)]) if rand() < 0.6;
	leave(shift @alive, (qw/ close abort /)[rand(2)]) while @alive > 20;
	$t->reload() if $life % 200 == 50;
}
leave($_, 'close') for @alive;

my (%began, %ended, %streams);
wait_for {
	%began = %ended = %streams = ();
	for (grep { $_->{name} =~ /^life/ } $oclp->requests()) {
		my ($call, $act) = @$_{qw/ call act /};
		if ($act eq 'done') {
			$ended{$call}++;
		} elsif ($act eq 'start') {
			# who is let in, also without an answer; a stream always; a relay by a redirect
			my $good = $call eq 'stream' || $_->{answer} == ($call =~ /^p(?:lay|ublish)/ ? 200 : 302);
			$began{$call}++ if $good || $call =~ /^p(?:lay|ublish)/ && $_->{answer} == 0;
		}
		$streams{"$_->{app}/$_->{name}"} .= substr($act, 0, 1) if $call eq 'stream';
	}
	!grep { ($began{$_} // 0) != ($ended{$_} // 0) } keys %began, keys %ended;
} 30 * $SLOW;
for my $call (qw/ publish play stream pull push meta /) {
	cmp_ok($began{$call} // 0, '>', $LIVES / 100, "$call: many began");
	is($ended{$call}, $began{$call}, "$call: as many dones");
}
is(join(' ', grep { $_ !~ /^(sd)+$/ } values %streams), '', 'streams begin and end in turn');
note("$LIVES lives: ", join ', ', map { "$_ $began{$_} - $ended{$_}" } sort keys %began);

# a worker that is told to leave tells of everybody

$oclp->answer($_, status => 200) for 'publish start', 'play start';
my @last = map {
	my $p = rtmp_connect(port(8080), 'test');
	$_ < 5 ? $p->publish("last-publish-$_") : $p->play("last-play-$_");
	$p;
} 0 .. 9;
my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;
kill 'QUIT', $master;
my @done;
wait_for {
	@done = grep { $_->{name} =~ /^last/ && $_->{act} eq 'done' && $_->{call} ne 'stream' }
		$oclp->requests();
	@done >= 10;
} 10 * $SLOW;
is(scalar(@done), 10, 'done of all when nginx quits');
@done = grep { $_->{name} =~ /^last/ } $oclp->wait_requests('stream done', 1);
wait_for {
	@done = grep { $_->{name} =~ /^last/ } $oclp->requests('stream done');
	@done >= 10;
};
is(scalar(@done), 10, 'done of their streams');
# nginx has removed it, and the harness goes by it
$t->write_file('nginx.pid', $master);

###############################################################################

sub leave {
	my ($p, $way) = @_;

	return if !$p->{socket};
	if ($way =~ /Stream/) {
		$p->send_command($way eq 'closeStream' ? $p->{stream} : 0, $way, 0, undef,
			$p->{stream});
	} elsif ($way eq 'garbage') {
		$p->send_raw("\xff" x 4096);
	} else {
		$p->$way();
	}
}

# Asks, and leaves as soon as the server knows.
sub ask {
	my ($role, $name) = @_;

	my $p = rtmp_connect(port(8080), 'test');
	$p->create_stream();
	$p->send_command($p->{stream}, $role, 5, undef, $name);
	wait_for { grep { $_->{name} eq $name } $oclp->requests("$role start") };
	$p->close();
}

# The dones of a name, once there are so many and no more can come.
sub dones {
	my ($role, $name, $count) = @_;

	my $got = sub { grep { $_->{name} eq $name } $oclp->requests("$role done") };
	wait_for { $count <= (() = $got->()) };
	return $got->();
}

###############################################################################
