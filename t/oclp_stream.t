#!/usr/bin/perl

# oclp_stream: the first client of a stream begins it and the last one ends it,
# whatever the workers they are connected to.

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

my $t = Test::Nginx->new()->plan(23);

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

        application test {
            oclp_stream http://127.0.0.1:8081/oclp/v1/stream
                        stage=start,update,done args=a=c&b=d update=200ms timeout=500ms;
            oclp_publish http://127.0.0.1:8081/oclp/v1/publish stage=done;
            oclp_play http://127.0.0.1:8081/oclp/v1/play stage=done;
        }

        application idle {
            idle_streams off;
            oclp_stream http://127.0.0.1:8081/oclp/v1/stream stage=done;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# one publisher

my $p = publisher('name?token=x');
my ($start) = $oclp->wait_requests('stream start', 1);
is($start->{line}, 'GET /oclp/v1/stream?call=stream&act=start&domain=localhost'
	. '&app=test&name=name&a=c&b=d HTTP/1.1', 'start, the request line');
my @updates = $oclp->wait_requests('stream update', 2);
is($updates[0]{line}, $start->{line} =~ s/act=start/act=update/r, 'update');
cmp_ok($updates[1]{time} - $updates[0]{time}, '>=', 0.19, 'time between updates');

# players of all workers: no other start

my @players = map { player('name') } 1 .. 20;
is(scalar($oclp->requests('stream start')), 1, 'one start for many clients');

# the publisher leaves, and players remain

$p->close();
$oclp->wait_requests('publish done', 1);
pop(@players)->close() while @players > 1;
$oclp->wait_requests('play done', 19);
my $count = $oclp->requests('stream update');
ok($oclp->wait_requests('stream update', $count + 2) >= $count + 2,
	'updates go on while one client remains');
is(scalar($oclp->requests('stream done')), 0, 'no done while one client remains');

$players[0]->close();
my ($done) = $oclp->wait_requests('stream done', 1);
is($done->{line}, $start->{line} =~ s/act=start/act=done/r, 'done');
my @events = $oclp->events();
is($events[-1], 'stream done', 'done of the stream comes last');
is((grep { /start/ } @events)[1], 'stream start', 'start comes once a client is let in');
is(scalar(grep { $_ eq 'stream start' } @events), 1, 'one start');

# again

$p = publisher('name');
$oclp->wait_requests('stream start', 2);
is(scalar($oclp->requests('stream start')), 2, 'start of a new life');
$p->close();
is(scalar($oclp->wait_requests('stream done', 2)), 2, 'done of a new life');

# one who is refused does not make a stream

$oclp->answer('publish start', status => 403);
publisher('refused')->close();
$oclp->answer('publish start', status => 200);
$p = publisher('after');
$oclp->wait_requests('stream start', 3);
is(join(' ', map { $_->{name} } $oclp->requests('stream start')), 'name name after',
	'no start for who is refused');

# other answers than 200: no updates, but done

for my $answer ([ status => 204 ], [ status => 302 ], [ status => 404 ], [ hang => 1 ]) {
	$oclp->answer('stream start', @$answer);
	my $name = "answer-$answer->[1]-$answer->[0]";
	$p = publisher($name);
	wait_for { grep { $_->{name} eq $name } $oclp->requests('stream start') };
	# as long as two updates and an answer take
	my $other = $oclp->requests('stream update');
	select undef, undef, undef, 0.9;
	is(scalar(grep { $_->{name} eq $name } $oclp->requests('stream update')), 0,
		"no update after $answer->[0] $answer->[1]");
	$p->close();
	wait_for { grep { $_->{name} eq $name } $oclp->requests('stream done') };
	is(scalar(grep { $_->{name} eq $name } $oclp->requests('stream done')), 1,
		"done after $answer->[0] $answer->[1]");
}

# whatever worker the clients are connected to, and whoever of them leaves first

$oclp->answer('stream start', status => 404);
my @last = map {
	my $name = "nowhere$_";
	my @clients = (publisher($name), map { player($name) } 1 .. 4);
	wait_for { grep { $_->{name} eq $name } $oclp->requests('stream start') };
	shift(@clients)->close() while @clients > 1;
	$clients[0];
} 1 .. 5;
# as long as two updates take
select undef, undef, undef, 0.5;
$_->close() for @last;
my @nowhere;
wait_for {
	@nowhere = grep { $_->{name} =~ /^nowhere/ } $oclp->requests('stream');
	5 == grep { $_->{act} eq 'done' } @nowhere;
};
is(join(' ', sort map { $_->{act} } @nowhere), 'done ' x 5 . 'start ' x 4 . 'start',
	'no update from any worker after 404');

# the order start, done, start, done holds for every key over all workers, old and new

$oclp->answer('stream', { status => 200 });
$oclp->answer('stream done', status => 200, delay => 0.05);
my @clients;
for my $round (1 .. 60) {
	push @clients, publisher("key" . $round % 3) if $round % 2;
	push @clients, player("key" . $round % 3) if !($round % 2);
	shift(@clients)->close() if @clients > 1 + $round % 3;
	$t->reload() if $round % 20 == 10;
}
$_->close() for @clients;
wait_for {
	my @requests = grep { $_->{name} =~ /^key/ && $_->{act} ne 'update' }
		$oclp->requests('stream');
	@requests && !(@requests % 2) && $requests[-1]{act} eq 'done'
		&& (grep { $_->{act} eq 'done' } @requests) == @requests / 2;
};
my %order;
for ($oclp->requests('stream')) {
	$order{$_->{name}} .= substr($_->{act}, 0, 1) if $_->{name} =~ /^key/;
}
is(join(' ', grep { $_ !~ /^(su*d)+$/ } values %order), '',
	'start, update and done alternate for every key');

###############################################################################

sub publisher {
	my ($name) = @_;
	my $p = rtmp_connect(port(8080), 'test');
	$p->publish($name);
	return $p;
}

sub player {
	my ($name) = @_;
	my $p = rtmp_connect(port(8080), 'test');
	$p->play($name);
	return $p;
}

###############################################################################
