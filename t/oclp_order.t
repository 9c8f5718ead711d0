#!/usr/bin/perl

# The order start, update, ..., done holds for every stream and line over all workers,
# old and new, whatever worker the next publisher or player comes to.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
my $ROUNDS = $ENV{TEST_NGINX_LONG} ? 5000 : $SLOW > 1 ? 150 : 600;
my $RELOADS = 5;
my $KEYS = 4;

my $t = Test::Nginx->new()->plan(14 + 2);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080 reuseport;
        live on;
        failed_reconnect 20ms;

        application test {
            oclp_publish http://127.0.0.1:8081/p stage=update,done update=15ms timeout=10s;
            oclp_play http://127.0.0.1:8081/p stage=update,done update=15ms timeout=10s;
            oclp_stream http://127.0.0.1:8081/p stage=update,done update=15ms timeout=10s;
            oclp_pull http://127.0.0.1:8081/p stage=update,done update=15ms timeout=10s;
        }

        application pub {
            oclp_publish http://127.0.0.1:8081/p stage=update,done update=15ms timeout=10s;
            oclp_push http://127.0.0.1:8081/one stage=update,done update=15ms timeout=10s;
            oclp_push http://127.0.0.1:8081/two stage=update,done update=15ms timeout=10s;
        }

        application met {
            oclp_meta_once off;
            oclp_publish http://127.0.0.1:8081/p stage=update,done update=15ms timeout=10s;
            oclp_meta http://127.0.0.1:8081/one stage=update,done update=15ms timeout=10s;
            oclp_meta http://127.0.0.1:8081/two stage=update,done update=15ms timeout=10s;
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
my $url = 'rtmp://127.0.0.1:' . port(8083) . '/core';
# late by chance, so that ends are told when the next start is due
for my $act (qw/ start update done /) {
	$oclp->answer_by_chance($_, map { { status => 200, delay => $_ / 200 } } 0 .. 8)
		for map { "$_ $act" } qw/ publish play stream pull push meta /;
}
$oclp->answer_by_chance('pull start',
	(map { { status => 302, delay => $_ / 100, headers => [ Location => "$url/steady" ] } } 0 .. 3),
	{ status => 200, delay => 0.01 }, { status => 404, delay => 0.01 }, { raw => '' });
for my $call (qw/ push meta /) {
	$oclp->answer_by_chance("/$_ $call start",
		(map { { status => 302, delay => $_ / 100, headers => [ Location => $url ] } } 0 .. 3),
		{ status => 200, delay => 0.01 }, { raw => '' }) for qw/ one two /;
}
$t->run();

###############################################################################

my $steady = rtmp_connect(port(8083), 'core');
$steady->publish('steady');
$steady->send_video(0, "\x17\x00\0\0\0header");
$steady->send_video(0, "\x17\x01\0\0\0key");

# one publisher of a stream at a time, of which the next comes when the last has left;
# and players who come and go as they like

my (%publishers, @players, %published);
for my $round (1 .. $ROUNDS) {
	my $name = 'key' . int(rand($KEYS));
	if (rand() < 0.5) {
		my $app = (qw/ test pub met /)[rand(3)];
		if (my $last = delete $publishers{"$app/$name"}) {
			$last->send_command($last->{stream}, 'deleteStream', 0, undef, $last->{stream});
			# the answer to what comes behind it: it has left
			$last->create_stream();
			push @players, $last;
			# some streams end with it
			next if rand() < 0.3;
		}
		my $p = rtmp_connect(port(8080), $app) or next;
		if ($p->publish($name) eq 'NetStream.Publish.Start') {
			$p->send_video(0, "\x17\x00\0\0\0header$round") for 1 .. 2;
			$publishers{"$app/$name"} = $p;
			$published{$app}++;
		}
	} else {
		my $p = rtmp_connect(port(8080), 'test') or next;
		$p->create_stream();
		$p->send_command($p->{stream}, 'play', 5, undef, $name);
		# some leave while they are asked about
		$p->read_status() if rand() < 0.7;
		push @players, $p;
	}
	while (@players > 5) {
		my $p = splice @players, rand(@players), 1;
		rand() < 0.5 ? $p->close() : $p->abort();
	}
	$t->reload() if $round % int($ROUNDS / $RELOADS) == 40;
}
$_->close() for values %publishers, @players;
cmp_ok($published{$_}, '>', $ROUNDS / 20, "many publishers of \"$_\"") for qw/ test pub met /;

# everything ends

my (%order, %balance);
wait_for {
	%order = %balance = ();
	for ($oclp->requests()) {
		my $act = substr $_->{act}, 0, 1;
		# a start of a relay that made none
		$act = '-' if $_->{call} =~ /^(?:pull|push|meta)$/ && $act eq 's' && $_->{answer} != 302;
		$order{$_->{call}}{"$_->{path} $_->{app}/$_->{name}"} .= $act;
		$balance{$_->{call}} += { s => 1, d => -1 }->{$act} // 0;
	}
	!grep { $_ } values %balance;
} 20 * $SLOW;

for my $call (qw/ publish stream pull push meta /) {
	is($balance{$call}, 0, "$call: as many dones as starts");
	my @wrong = grep { $order{$call}{$_} !~ /^(?:-|su*d)+$/ } sort keys %{$order{$call}};
	is(join(', ', map { "$_: " . ($order{$call}{$_} =~ s/^(?:-|su*d)*//r) } @wrong), '',
		"$call: start, updates and done take turns")
		or diag(map { "$_ $order{$call}{$_}\n" } @wrong);
}
# players are many at a time
is($balance{play}, 0, 'play: as many dones as starts');
note(join ', ', map { my $call = $_; "$call: " . (() = join('', values %{$order{$call}}) =~ /s/g) } sort keys %order);

###############################################################################

# the subs hold it, and it must end before the tests are counted
undef $_ for $core, $t;

###############################################################################
