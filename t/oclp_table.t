#!/usr/bin/perl

# What each answer does to each event: the table of docs/callbacks.md, cell by cell.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes qw/ sleep /;
use Test::Nginx::FLV;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $SLOW = $ENV{TEST_NGINX_SLOW} || 1;
# seconds: between updates; for an update to come or to stay away; for a client to be told
my $UPDATE = 0.1;
my $WHILE = 4 * $UPDATE * $SLOW;

my $ok = 'let in, updates, done';
my $silent = 'let in, done';
# the columns: 200, 204, 302, 403, 404, 503, refused, timeout, bad HTTP
my @columns = (qw/ 200 204 302 403 404 503 refused timeout garbage /);
my $forbidden = 'NetStream.%s.Forbidden';
my %admission = (
	open => [ $ok, ($forbidden) x 5, ($silent) x 3 ],
	closed => [ $ok, ($forbidden) x 8 ],
);
my @relay = ('no relay', 'ended', 'relay, updates, done', ('ended') x 3, ('asked again') x 3);
my %table = (
	(map { my $fail = $_; map { ("$_ $fail" => $admission{$fail}) } qw/ publish play play-flv play-ws / }
		qw/ open closed /),
	stream => [ 'updates, done', ('done') x 8 ],
	pull => \@relay,
	'pull-flv' => \@relay,
	push => \@relay,
	meta => \@relay,
);
my @ignored = ([ 204 => status => 204 ], [ 302 => status => 302 ], [ 404 => status => 404 ],
	[ 503 => status => 503 ], [ timeout => hang => 1 ], [ garbage => raw => "garbage\x0d\x0a\x0d\x0a" ]);
my @calls = qw/ publish play stream pull push meta /;

my $t = Test::Nginx->new()->plan(@columns * keys(%table) + 2 * @ignored * @calls);

my $stages = "stage=update,done update=${\($UPDATE * 1000)}ms timeout=${\(300 * $SLOW)}ms";
my $conf = '';
# each event with a server that answers and one that nobody listens at
for my $server ([ '', 8081 ], [ '_refused', 8084 ]) {
	my ($suffix, $port) = @$server;
	my $url = "http://127.0.0.1:$port/p $stages";
	for my $fail (qw/ open closed /) {
		$conf .= "application ${_}_$fail$suffix { oclp_fail $fail; oclp_$_ $url; }\n" for qw/ publish play /;
	}
	$conf .= "application ${_}$suffix { oclp_$_ $url; }\n" for qw/ stream pull push meta /;
}

$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen 127.0.0.1:8082;

        location / {
            flv_live 127.0.0.1:8080;
        }
    }
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:8080;
        # the sources say nothing more for as long as the table takes
        ping 0;
        live on;
        cache_time 1s;
        failed_reconnect 20ms;
        relay_reconnect 2s;
        $conf
    }

    server {
        listen 127.0.0.1:8083;
        ping 0;
        live on;
        cache_time 1s;
        application core { }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my $core = 'rtmp://127.0.0.1:' . port(8083) . '/core';
my $source = rtmp_connect(port(8083), 'core');
$source->publish('source');
header($source);
# who plays over HTTP is answered when there is a stream
my %sources = map {
	my $p = rtmp_connect(port(8080), $_);
	$p->publish('name');
	header($p);
	($_ => $p);
} map { ("play_$_", "play_${_}_refused") } qw/ open closed /;
my $n = 0;

for my $column (@columns) {
	my $i = $n++;
	for my $row (sort keys %table) {
		my ($event, $fail) = split / /, $row;
		my ($call, $protocol) = split /-/, $event;
		my $expected = $table{$row}[$i] =~ s/%s/\u$call/r;
		# HTTP has a status for it
		$expected = 403 if $protocol && $expected =~ /Forbidden/;
		answer("$call start", $column, $call eq 'pull' ? "$core/source" : $core);
		my $app = join '_', $call, $fail || (), $column eq 'refused' ? 'refused' : ();
		is(cell($call, $protocol || 'rtmp', $app, "$call-$column"), $expected, "$row, $column");
		$oclp->answer("$call start", status => 200);
	}
}
$_->close() for values %sources;

# the answers to update and done are ignored

for my $case (@ignored) {
	my ($what, @answer) = @$case;
	# what stands for the others: a publisher or a player of each event
	for my $call (@calls) {
		answer("$call start", $call =~ /pull|push|meta/ ? 302 : 200,
			$call eq 'pull' ? "$core/source" : "$core/$call-$what");
		$oclp->answer("$call $_", @answer) for qw/ update done /;
	}
	my %clients = map {
		my $app = /publish|play/ ? "${_}_open" : $_;
		($_ => client($_, 'rtmp', $app, "ignored-$what"));
	} @calls;
	for my $call (@calls) {
		wait_for { 2 <= seen($call, 'update', "ignored-$what") };
		my $p = $clients{$call};
		ok(!$p->closed(0.02) && 2 <= seen($call, 'update', "ignored-$what"), "$call update, $what: ignored");
		$p->close();
	}
	for my $call (@calls) {
		wait_for { 1 <= seen($call, 'done', "ignored-$what") };
		is(scalar(seen($call, 'done', "ignored-$what")), 1, "$call done, $what: not sent again");
	}
}

###############################################################################

# What becomes of a client, as the server and the client see it.
sub cell {
	my ($call, $protocol, $app, $name) = @_;

	# streams that are published already are there for players
	$name = 'name' if $call eq 'play';
	my $before = $oclp->requests();
	my $p = client($call, $protocol, $app, $name);
	my $status = $p->status() // 'none';
	my $told = sub {
		my ($act) = @_;
		my @requests = $oclp->requests();
		return grep { $_->{call} eq $call && $_->{act} eq $act && $_->{app} eq $app }
			@requests[$before .. $#requests];
	};
	if ($call =~ /^(?:publish|play)$/) {
		return $status if $status =~ /Forbidden|403/;
		return "not let in: $status" if $status !~ /Start|200|101/;
		return ends($p, 'let in', $told, $app);
	}
	return ends($p, '', $told, $app) if $call eq 'stream';

	# a relay: those who want it are told, or it is made, or asked about again, or nothing
	if ($app =~ /refused/) {
		my $lines = sub { () = $t->read_file('error.log') =~ /oclp_$call start of "\Q$app\E\/\Q$name\E".*no answer/g };
		my $asked = $lines->();
		wait_for { $lines->() > $asked + 1 };
		my $again = $lines->() > $asked + 1 ? 'asked again' : 'asked once';
		$p->close();
		return $again;
	}
	my $ended = sub {
		$protocol eq 'rtmp' ? $p->read_status(0.02) : $p->answered();
		return ($p->status() // '') =~ /^(?:NetStream.Play.StreamNotFound|NetStream.Publish.BadName|404)$/;
	};
	wait_until($WHILE + 0.5 * $SLOW, sub { $ended->() || $told->('update') || $told->('start') > 1 });
	return 'ended' if $ended->();
	if ($told->('start') > 1) {
		$p->close();
		return $told->('done') ? 'asked again after done' : 'asked again';
	}
	return ends($p, $told->('update') ? 'relay' : 'no relay', $told, $app);
}

# The updates and the end of what goes on.
sub ends {
	my ($p, $what, $told, $app) = @_;

	my @words = $what || ();
	wait_until($WHILE, sub { $told->('update') });
	push @words, 'updates' if $told->('update');
	$p->close();
	# who is not answered tells of the end in the log only
	my $log = sub { $t->read_file('error.log') =~ /oclp_\w+ done of "\Q$app\E\/.*no answer/ };
	wait_until($WHILE, sub { $told->('done') || $app =~ /refused/ && $log->() });
	push @words, 'done' if $told->('done') || $app =~ /refused/ && $log->();
	return join ', ', @words;
}

# A client that causes the event.
sub client {
	my ($call, $protocol, $app, $name) = @_;

	if ($protocol ne 'rtmp') {
		my %headers = $protocol eq 'ws' ? (Upgrade => 'websocket', Connection => 'Upgrade',
			'Sec-WebSocket-Key' => 'x3JJHMbDL1EzLkh9GBhXDw==', 'Sec-WebSocket-Version' => 13) : ();
		return http_flv(port(8082), "/$app/$name", headers => \%headers, wait => $call ne 'pull',
			# a pull may bring nothing, and is looked at again and again
			$call eq 'pull' ? (timeout => 0.02) : ());
	}
	my $p = rtmp_connect(port(8080), $app);
	$call =~ /^(?:pull|play)$/ ? $p->play($name) : $p->publish($name);
	header($p) if $call =~ /^(?:push|meta)$/;
	return $p;
}

sub header {
	my ($p) = @_;
	$p->send_video(0, "\x17\x00\0\0\0header");
	$p->send_video(0, "\x17\x01\0\0\0key");
}

sub answer {
	my ($event, $column, $location) = @_;
	$oclp->answer($event, $column eq 'timeout' ? (hang => 1)
		: $column eq 'garbage' ? (raw => "garbage\x0d\x0a\x0d\x0a")
		: (status => $column, headers => [ Location => $location ])) if $column ne 'refused';
}

sub seen {
	my ($call, $act, $name) = @_;
	return grep { $_->{name} eq $name } $oclp->requests("$call $act");
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
