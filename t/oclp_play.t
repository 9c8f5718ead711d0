#!/usr/bin/perl

# oclp_play: what the server is asked, and what each of its answers does to an RTMP
# player.

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

my $t = Test::Nginx->new()->plan(41);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    server {
        listen 127.0.0.1:8080;
        live on;

        application test {
            oclp_play http://127.0.0.1:8081/oclp/v1/play
                      stage=start,update,done args=token=$parg_token&r=$args
                      timeout=500ms update=200ms;
        }

        application closed {
            oclp_fail closed;
            oclp_play http://127.0.0.1:8081/oclp/v1/play stage=done timeout=500ms;
        }

        application nobody {
            idle_streams off;
            oclp_play http://127.0.0.1:8081/oclp/v1/play stage=done;
        }

        application down {
            oclp_play http://127.0.0.1:8082/ stage=done;
        }

        application down_closed {
            oclp_fail closed;
            oclp_play http://127.0.0.1:8082/ stage=done;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# the request, byte for byte

my $p = player('test', 'name?token=x&a=%20b');
is($p->status(), 'NetStream.Play.Start', '200: accepted');

my ($start) = $oclp->requests('play start');
is($start->{line}, 'GET /oclp/v1/play?call=play&act=start&domain=localhost'
	. '&app=test&name=name&token=x&r=token=x&a=%20b HTTP/1.1',
	'start, the request line');

my @updates = $oclp->wait_requests('play update', 2);
is($updates[0]{line}, $start->{line} =~ s/act=start/act=update/r, 'update');
cmp_ok($updates[0]{time} - $start->{time}, '>=', 0.19, 'time to update');
cmp_ok($updates[1]{time} - $updates[0]{time}, '>=', 0.19, 'time between updates');

$p->close();
my ($done) = $oclp->wait_requests('play done', 1);
is($done->{line}, $start->{line} =~ s/act=start/act=done/r, 'done');

# each player is told of; and one that closes the stream but not the connection

my @players = map { player('test', 'many') } 1 .. 3;
is(scalar(grep { $_->{name} eq 'many' } $oclp->requests('play start')), 3,
	'a start for each player');
$players[0]->send_command($players[0]{stream}, 'closeStream', 0, undef);
is($players[0]->read_status(), 'NetStream.Play.Stop', 'closed stream');
$oclp->wait_requests('play done', 2);
is(scalar($oclp->requests('play done')), 2, 'done of a closed stream');
is($players[0]->play('again'), 'NetStream.Play.Start', 'another on the same connection');
is(scalar(grep { $_->{name} eq 'again' } $oclp->requests('play start')), 1,
	'start of another');
$_->close() for @players;
is(scalar(wait_done(5)), 5, 'done of each player');

# what is refused

for my $status (201, 204, 299, 301, 302, 304, 399, 400, 403, 404, 499, 500, 503) {
	$oclp->answer('play start', status => $status,
		headers => [ Location => 'rtmp://127.0.0.1:1/x/y' ]);
	$p = player('test', "refused$status");
	is($p->status(), 'NetStream.Play.Forbidden', "$status: refused");
}
is($p->info()->{level}, 'error', 'level of a refusal');
ok($p->closed(), 'closed');

# no answer

$oclp->answer('play start', hang => 1);
my $began = Time::HiRes::time();
$p = player('test', 'hang');
is($p->status(), 'NetStream.Play.Start', 'no answer: accepted');
my $took = Time::HiRes::time() - $began;
cmp_ok($took, '>=', 0.45, 'after the timeout');
cmp_ok($took, '<', 1.5, 'and not much later');
is(player('closed', 'hang')->status(), 'NetStream.Play.Forbidden',
	'no answer, oclp_fail closed: refused');

$oclp->answer('play start', raw => "garbage\x0d\x0a\x0d\x0a");
is(player('closed', 'garbage')->status(), 'NetStream.Play.Forbidden',
	'garbage, oclp_fail closed: refused');
$oclp->answer('play start', raw => '');
is(player('closed', 'cut')->status(), 'NetStream.Play.Forbidden',
	'connection closed, oclp_fail closed: refused');
my $open = player('test', 'cut');
is($open->status(), 'NetStream.Play.Start', 'connection closed: accepted');

is(player('down', 'name')->status(), 'NetStream.Play.Start', 'refused: accepted');
is(player('down_closed', 'name')->status(), 'NetStream.Play.Forbidden',
	'refused, oclp_fail closed: refused');

# accepted without an answer: done, but no update

my $updates = grep { $_->{name} =~ /hang|cut/ } $oclp->requests('play update');
$_->close() for $p, $open;
wait_for { 2 == grep { $_->{name} =~ /hang|cut/ } $oclp->requests('play done') };
is($updates, 0, 'no update without an answer');
is(join(' ', sort map { $_->{name} } grep { $_->{name} =~ /hang|cut/ }
	$oclp->requests('play done')), 'cut hang', 'done without an answer');
is(scalar(grep { $_->{name} =~ /refused/ } $oclp->requests('play done')), 0,
	'no done after a refusal');

# accepted, but there is nothing to play

$oclp->answer('play start', status => 200);
is(player('nobody', 'name')->status(), 'NetStream.Play.StreamNotFound', 'no stream');
wait_for { grep { $_->{app} eq 'nobody' } $oclp->requests('play done') };
is(scalar(grep { $_->{app} eq 'nobody' } $oclp->requests('play done')), 1,
	'done of a player that found no stream');

###############################################################################

sub player {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->play($name);
	return $p;
}

sub wait_done {
	my ($count) = @_;
	return $oclp->wait_requests('play done', $count);
}

###############################################################################
