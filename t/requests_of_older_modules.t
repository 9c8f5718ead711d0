#!/usr/bin/perl

# What a scheduling server hears in scenes that AlexWoo's module was recorded in: the same
# requests in the same order, but for differences that docs/migration.md names.
#
# data/requests.json has the scenes: the lines of an application (or of the rtmp block), what
# the server answers, and the steps, each with the requests that it causes: those of the older
# module (older) and, where they are others, those of this one (here), for which a row of
# docs/migration.md begins with what the scene says in "differs".  A request is a target, or
# call and act; those in a list of their own come in any order.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::INET;
use JSON::PP ();
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @scenes = @{bytes(JSON::PP->new()->utf8()->decode(slurp('data/requests.json')))};
my $migration = slurp('../docs/migration.md');

my $steps = 0;
$steps += @{$_->{steps}} for @scenes;
my @own = grep { $_->{rtmp} } @scenes;
my $t = Test::Nginx->new()->has(qw/ http /)->plan($steps + 2 * @scenes + 2 * @own);
my $oclp = oclp_server($t, port(8081));
my $url = 'http://127.0.0.1:%%PORT_8081%%';
my $core = '127.0.0.1:' . port(8083);

# a server for each scene
my @shared = grep { !$_->{rtmp} } @scenes;
$shared[$_]{number} = 8100 + $_ for 0 .. $#shared;
start($t, '', map { server($_) } @shared);

###############################################################################

for my $scene (@scenes) {
	my $other = $scene->{rtmp} && Test::Nginx->new();
	$oclp->answer('*', status => 200);
	$oclp->answer($_, answer($scene->{answers}{$_})) for sort keys %{$scene->{answers} // {}};
	my $seen = $oclp->requests();
	my (@clients, $source);
	for my $step (@{$scene->{steps}}) {
		my ($what, @about) = @{$step->{do}};
		my @expected = @{$step->{here} // $step->{older}};
		if ($what eq 'start') {
			start($other, join '', map { s/URL/$url/r . ";\n" } @{$scene->{rtmp}});
		} elsif ($what eq 'source') {
			$source = client(port(8083), 'core', 'publish', $about[0]);
			send_media($source);
		} elsif ($what eq 'publish' || $what eq 'play') {
			my $options = $about[1] // {};
			push @clients, client(port($scene->{number}), $options->{app} // $scene->{application}, $what,
				$about[0], $options->{tc_url});
		} elsif ($what eq 'flv') {
			push @clients, flv($scene, $about[0]);
		} elsif ($what eq 'header') {
			$clients[-1]->send_video(0, "\x17\x00\0\0\0header");
		} elsif ($what eq 'media') {
			# the relay is established
			$clients[-1]->read_video();
		} elsif ($what eq 'arrives') {
			arrives($_) for ref $about[0] ? @{$about[0]} : @about;
		} else {
			my ($client) = splice @clients, $about[0] // -1, 1;
			$client->close();
		}
		is(heard($seen, @expected), text(@expected), "$scene->{name}: @{[flat(@{$step->{do}})]}");
		$seen = $oclp->requests();
	}
	# and nothing else
	sleep(0.05);
	is(scalar($oclp->requests()), $seen, "$scene->{name}: no more");
	is(join(', ', unnamed($scene)), '', "$scene->{name}: differences are named");
	$_->close() for grep { $_ } @clients, $source;
	next if !$other;
	$other->stop();
	undef $other;
}

###############################################################################

# The requests since then, when there are as many as expected, as text in which those that
# have no order are sorted.
sub heard {
	my ($since, @expected) = @_;
	my $count = map { ref $_ ? @$_ : $_ } @expected;
	my @requests = $oclp->wait_requests('*', $since + $count);
	@requests = splice @requests, $since;
	my @order;
	for my $expected (@expected) {
		my @these = splice @requests, 0, ref $expected ? scalar @$expected : 1;
		my $full = (ref $expected ? $expected->[0] : $expected) =~ m{^/};
		my @texts = map { $full ? $_->{target} : "$_->{call} $_->{act}" } @these;
		push @order, ref $expected ? \@texts : @texts;
	}
	return text(@order, map { $_->{target} } @requests);
}

sub text { join "\n", map { ref $_ ? '(' . join(', ', sort @$_) . ')' : $_ } @_ }

# What the scene does otherwise and does not name, or names and the documentation does not.
sub unnamed {
	my ($scene) = @_;
	my @differs = @{$scene->{differs} // []};
	my $other = grep { $_->{here} && text(@{$_->{here}}) ne text(@{$_->{older}}) } @{$scene->{steps}};
	return 'a difference without a name' if $other && !@differs;
	return 'a name without a difference' if !$other && @differs;
	return grep { index($migration, "\n| $_") < 0 } @differs;
}

sub answer {
	my ($answer) = @_;
	my $location = $answer->{location} // return (status => $answer->{status});
	return (status => $answer->{status}, headers => [ Location => $location =~ s/CORE/$core/r ]);
}

###############################################################################
# the clients

sub client {
	my ($port, $app, $role, $name, $tc_url) = @_;
	my $client = rtmp_connect($port, $app, tc_url => $tc_url // "rtmp://127.0.0.1/$app");
	$client->$role($name);
	return $client;
}

sub send_media {
	my ($publisher) = @_;
	$publisher->send_video(0, "\x17\x00\0\0\0header");
	$publisher->send_video(0, "\x17\x01\0\0\0key");
}

# Waits until the stream is pushed to the core.
sub arrives {
	my ($name) = @_;
	my $ok = wait_for {
		my $client = client(port(8083), 'core', 'publish', $name);
		my $taken = $client->status() eq 'NetStream.Publish.BadName';
		$client->close();
		$taken;
	};
	return $ok;
}

sub flv {
	my ($scene, $path) = @_;
	my $socket = IO::Socket::INET->new('127.0.0.1:' . port(8082)) or die "no connection: $!\n";
	$socket->print("GET /$scene->{number}$path HTTP/1.1\x0d\x0aHost: 127.0.0.1\x0d\x0a\x0d\x0a");
	return $socket;
}

###############################################################################
# the servers

sub start {
	my ($t, $rtmp, @servers) = @_;
	my @flv = map { "location /$_->{number}/ { rewrite ^/[0-9]+(.*)\$ \$1 break; flv_live 127.0.0.1:%%PORT_$_->{number}%%; }" }
		@shared;
	my $core = @servers ? "server { listen 127.0.0.1:%%PORT_8083%%; live on; cache_time 1s; application core { } }" : '';
	my $http = @servers ? "http { %%TEST_GLOBALS_HTTP%% server { listen 127.0.0.1:%%PORT_8082%%; @flv } }" : '';
	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 1s;

events {
    worker_connections 1024;
}

$http

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    $rtmp
    $core
    @servers
}

EOC
	$t->run();
}

sub server {
	my ($scene) = @_;
	my $lines = join "\n", map { s/URL/$url/gr . ';' } @{$scene->{lines}};
	return "server { listen 127.0.0.1:%%PORT_$scene->{number}%%; live on; application $scene->{application} {\n$lines\n} }\n";
}

###############################################################################

sub slurp {
	my ($path) = @_;
	open my $file, '<:raw', $path or die "$path: $!\n";
	local $/;
	return scalar <$file>;
}

# Texts as the bytes that go over the wire.
sub bytes {
	my ($value) = @_;
	return [ map { bytes($_) } @$value ] if ref $value eq 'ARRAY';
	return { map { $_ => bytes($value->{$_}) } keys %$value } if ref $value eq 'HASH';
	utf8::encode($value) if defined $value && !ref $value;
	return $value;
}

sub flat { map { ref $_ eq 'ARRAY' ? @$_ : ref $_ ? values %$_ : $_ } @_ }

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
