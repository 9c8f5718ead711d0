#!/usr/bin/perl

# oclp_push: what the server is asked when a stream is published, and what each of its
# answers does; each line is on its own.

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

my $t = Test::Nginx->new()->plan(51);

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

        application pub {
            oclp_push http://127.0.0.1:8081/one   stage=start,update,done args=a=c&b=d
                      groupid=g1 timeout=1s update=200ms;
            oclp_push http://127.0.0.1:8081/two   stage=start,update,done args=e=f
                      groupid=g2 timeout=1s update=200ms;
            oclp_push http://127.0.0.1:8082/three stage=start,update,done
                      timeout=1s update=200ms;
            push rtmp://127.0.0.1:8083/static/$name;
        }

        application one {
            oclp_push http://127.0.0.1:8081/one stage=done timeout=1s;
        }

        application eight {
            oclp_push http://127.0.0.1:8081/1 groupid=1 stage=done;
            oclp_push http://127.0.0.1:8081/2 groupid=2 stage=done;
            oclp_push http://127.0.0.1:8081/3 groupid=3 stage=done;
            oclp_push http://127.0.0.1:8081/4 groupid=4 stage=done;
            oclp_push http://127.0.0.1:8081/5 groupid=5 stage=done;
            oclp_push http://127.0.0.1:8081/6 groupid=6 stage=done;
            oclp_push http://127.0.0.1:8081/7 groupid=7 stage=done;
            oclp_push http://127.0.0.1:8081/8 groupid=8 stage=done;
        }

        application edge {
            pull rtmp://127.0.0.1:8083/core/source;
            oclp_push http://127.0.0.1:8081/one stage=done;
        }
    }

    server {
        listen 127.0.0.1:8083;
        live on;
        cache_time 1s;

        application * {
            oclp_publish http://127.0.0.1:8084/seen args=$args stage=done;
        }
    }
}

EOC

my $one = oclp_server($t, port(8081));
my $three = oclp_server($t, port(8082));
my $seen = oclp_server($t, port(8084));
my $core = 'rtmp://127.0.0.1:' . port(8083);
$t->run();

###############################################################################

# three lines, three relays, and a static one beside them

redirect($one, "$core/core/first?k=v", '/one');
redirect($one, "$core/core/second", '/two');
redirect($three, "$core/core", '/three', Domain => 'other.example');
my $p = publisher('pub', 'name?token=x');
is($p->status(), 'NetStream.Publish.Start', 'published');
$seen->wait_requests('publish start', 4);

my ($first, $second) = sort { $a->{path} cmp $b->{path} } $one->requests('push start');
my ($third) = $three->requests('push start');
my $common = 'call=push&act=start&domain=localhost&app=pub&name=name';
is($first->{line}, "GET /one?$common&groupid=g1&a=c&b=d HTTP/1.1", 'start of the first');
is($second->{line}, "GET /two?$common&groupid=g2&e=f HTTP/1.1", 'start of the second');
is($third->{line}, "GET /three?$common HTTP/1.1", 'start of the third');

for my $line ([ $one, $first ], [ $one, $second ], [ $three, $third ]) {
	my ($server, $start) = @$line;
	my ($update) = wait_target($server, $start->{target} =~ s/=start/=update/r);
	ok($update, "$start->{path}, update of its own line");
}

my %targets = map { ("$_->{domain}/$_->{app}/$_->{name}?$_->{args}" => 1) }
	$seen->requests('publish start');
is_deeply(\%targets, { 'localhost/core/first?k=v' => 1,
	'localhost/core/second?token=x' => 1, 'other.example/core/name?token=x' => 1,
	'127.0.0.1/static/name?' => 1 }, 'where the stream goes');
my $player = rtmp_connect(port(8083), 'core');
$player->play('name');
key($p);
is(video($player), 'key', 'the stream arrives');

$p->close();
for my $line ([ $one, $first ], [ $one, $second ], [ $three, $third ]) {
	my ($server, $start) = @$line;
	my ($done) = wait_target($server, $start->{target} =~ s/=start/=done/r);
	ok($done, "$start->{path}, done of its own line");
}
my %balance;
$balance{$_->{path}} += { start => 1, done => -1 }->{$_->{act}} // 0
	for $one->requests(), $three->requests();
is_deeply(\%balance, { '/one' => 0, '/two' => 0, '/three' => 0 }, 'a done for each start');

# eight

redirect($one, "$core/core/$_", "/$_") for 1 .. 8;
$p = publisher('eight', 'eight');
my @eight = grep { $_->{name} eq 'eight' && $_->{act} eq 'start' }
	wait_named($one, 'eight', 'start', 8);
is(join(' ', sort map { $_->{groupid} } @eight[0 .. 7]), '1 2 3 4 5 6 7 8', 'eight lines');
$p->close();
wait_named($one, 'eight', 'done', 8);

# 200: no relay, no update, no done

$one->answer('/one push start', status => 200);
my $publishes = $seen->requests('publish start');
$p = publisher('one', 'ok');
wait_named($one, 'ok', 'start', 1);
sleep(0.5);
is(scalar(named($one, 'ok')), 1, '200: asked once, and nothing more');
ok(!$p->closed(0.05), '200: the publisher stays');
$p->close();
sleep(0.1);
is(scalar(named($one, 'ok')), 1, '200: no done');
is(scalar($seen->requests('publish start')), $publishes, '200: no relay');

# other 2xx, 4xx, 5xx: the publisher ends

for my $status (201, 204, 400, 403, 404, 500, 503) {
	$one->answer('/one push start', status => $status, delay => 0.05,
		headers => [ Location => "$core/core/x" ]);
	$p = publisher('one', "status$status");
	is($p->read_status(), 'NetStream.Publish.BadName', "$status: the publisher ends");
}
is($p->info()->{level}, 'error', 'level');
ok($p->closed(), 'closed');
is(scalar(grep { $_->{name} =~ /^status/ } $one->requests('push done')), 0, '4xx: no done');

# no answer: asked again, later and later; the publisher does not notice

for my $answer ([ hang => 1 ], [ raw => '' ], [ raw => "garbage\x0d\x0a\x0d\x0a" ],
	[ status => 302 ], [ status => 302, headers => [ Location => '/core/x' ] ],
	[ status => 302, headers => [ Location => 'http://127.0.0.1:' . port(8083) . '/core/x' ] ])
{
	my $kind = $answer->[0] . ' ' . ($answer->[3] ? $answer->[3][1] : length $answer->[1]);
	my $name = 'again' . int(rand(1e9));
	$one->answer('/one push start', { @$answer }, { @$answer }, { @$answer },
		{ status => 302, headers => [ Location => "$core/core" ] });
	$p = publisher('one', $name);
	wait_for { grep { $_->{name} eq $name } $seen->requests('publish start') };
	is(scalar(grep { $_->{name} eq $name } $seen->requests('publish start')), 1,
		"$kind: pushed once there is an answer");
	my @asked = named($one, $name);
	is(scalar(@asked), 4, "$kind: asked until there is an answer");
	$p->close();
	wait_named($one, $name, 'done', 1);
	is(scalar(grep { $_->{act} eq 'done' } named($one, $name)), 1, "$kind: one done");
}

# one that fails does not disturb the others

redirect($one, "$core/core/steady", '/one');
redirect($one, "$core/core/steady2", '/two');
$three->answer('push start', hang => 1);
$p = publisher('pub', 'steady');
wait_for { grep { $_->{name} eq 'steady' && $_->{app} eq 'core' } $seen->requests('publish start') };
wait_named($three, 'steady', 'start', 2);
ok(!$p->closed(0.05), 'the publisher stays');
is(scalar(grep { $_->{name} eq 'steady' && $_->{app} eq 'core' && $_->{act} eq 'done' }
	$seen->requests()), 0, 'the others go on');
$p->close();

# another server that can't be reached: the relay was made, so it is done, and asked about again

redirect($one, 'rtmp://127.0.0.1:1/core/x', '/one');
$p = publisher('one', 'unreachable');
wait_named($one, 'unreachable', 'done', 3);
$p->close();
wait_for {
	my @acts = map { $_->{act} } named($one, 'unreachable');
	(grep { $_ eq 'start' } @acts) == (grep { $_ eq 'done' } @acts);
};
like(join(' ', map { $_->{act} } named($one, 'unreachable')), qr/^(start done ?){3,}$/,
	'start and done take turns');

# what is pulled is not pushed

my $source = rtmp_connect(port(8083), 'core');
$source->publish('source');
key($source);
my $asked = $one->requests('push start');
$player = rtmp_connect(port(8080), 'edge');
$player->play('name');
is(video($player), 'key', 'pulled');
sleep(0.1);
is(scalar($one->requests('push start')), $asked, 'what is pulled is not pushed');

###############################################################################

sub redirect {
	my ($server, $location, $path, @headers) = @_;
	$server->answer("$path push start", status => 302, headers => [ Location => $location, @headers ]);
}

sub named {
	my ($server, $name) = @_;
	return grep { $_->{name} eq $name } $server->requests('push');
}

sub wait_named {
	my ($server, $name, $act, $count) = @_;
	wait_for { $count <= (() = grep { $_->{act} eq $act } named($server, $name)) };
	return named($server, $name);
}

sub wait_target {
	my ($server, $target) = @_;
	my @found;
	wait_for { @found = grep { $_->{target} eq $target } $server->requests() };
	return @found;
}

sub key {
	my ($p) = @_;
	$p->send_video(0, "\x17\x00\0\0\0header");
	$p->send_video(0, "\x17\x01\0\0\0key");
}

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	key($p) if $p->publish($name) eq 'NetStream.Publish.Start';
	return $p;
}

sub video {
	my ($p) = @_;
	my $message = $p->read_until(sub {
		$_[0]{type} == RTMP_VIDEO && substr($_[0]{payload}, 1, 1) eq "\x01"
	});
	return $message ? substr($message->{payload}, 5) : undef;
}

###############################################################################
