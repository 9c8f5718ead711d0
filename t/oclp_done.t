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

my $LIVES = 400;
my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;

my $t = Test::Nginx->new()->plan(19);

$t->write_file_expand('nginx.conf', <<'EOC');

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
            oclp_publish http://127.0.0.1:8081/p stage=update,done timeout=300ms update=10ms;
            oclp_play http://127.0.0.1:8081/p stage=done timeout=300ms;
            oclp_stream http://127.0.0.1:8081/p stage=done timeout=300ms;
        }
    }
}

EOC

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

$oclp->answer($_, status => 200) for 'update', 'done', 'stream';
for my $event ('publish start', 'play start') {
	$oclp->answer_by_chance($event, (map { { status => 200, delay => $_ / 200 } } 0 .. 5),
		{ status => 200 }, { status => 403 }, { status => 302, delay => 0.01 }, { raw => "no\x0d\x0a" },
		{ hang => 1 });
}

my @alive;
for my $life (1 .. $LIVES) {
	my $role = rand() < 0.3 ? 'publish' : 'play';
	my $p = rtmp_open(port(8080)) or next;
	my @steps = (
		sub { $p->handshake() },
		sub { $p->result($p->command('connect', { app => 'test', tcUrl => 'rtmp://h/test' })) },
		sub { $p->create_stream() },
		sub { $p->send_command($p->{stream}, $role, 5, undef, 'life' . int(rand(8))) },
		sub { $p->read_status(rand(0.05)) },
		sub { $p->send_video(0, "\x17\x00\0\0\0"); $p->read_media(0.01) },
		sub { push @alive, $p },
	);
	for my $step (@steps[0 .. (rand() < 0.2 ? rand(@steps) : $#steps)]) {
		$step->();
		last if !$p->{socket} || $p->{eof};
	}
	leave($p, (qw/ close abort deleteStream /)[rand(3)]) if rand() < 0.6;
	leave(shift @alive, (qw/ close abort /)[rand(2)]) while @alive > 20;
	$t->reload() if $life % 100 == 50;
}
leave($_, 'close') for @alive;

my ($admitted, $told);
wait_for {
	($admitted, $told) = (0, 0);
	for ($oclp->requests()) {
		next if $_->{call} eq 'stream' || $_->{name} !~ /^life/;
		$admitted++ if $_->{act} eq 'start' && ($_->{answer} == 200 || $_->{answer} == 0);
		$told++ if $_->{act} eq 'done';
	}
	$admitted == $told;
} 10 * $SLOW;
cmp_ok($admitted, '>', $LIVES / 4, 'many were let in');
is($told, $admitted, 'as many dones as were let in');

my %streams;
wait_for {
	%streams = ();
	$streams{$_->{name}} .= substr($_->{act}, 0, 1)
		for grep { $_->{name} =~ /^life/ } $oclp->requests('stream');
	!grep { $_ !~ /^(sd)+$/ } values %streams;
} 10 * $SLOW;
is(join(' ', grep { $_ !~ /^(sd)+$/ } values %streams), '', 'streams begin and end in turn');

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
