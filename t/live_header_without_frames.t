#!/usr/bin/perl

# A header without frames announces no track: players get none of it, until its frames come.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Time::HiRes;

use Test::Nginx::FLV;
use Test::Nginx::FlvLive;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my %HEADER = (video => video_header(), audio => audio_header());

my $t = Test::Nginx->new()->has(qw/http/)->plan(2 * 9);

flv_run($t, app => 'cache_time 10s;');

###############################################################################

for my $silent (qw/ audio video /) {
	my $flags = $silent eq 'audio' ? 1 : 4;
	my $name = "no$silent";
	my $p = publisher($name);
	# one that is there first, by RTMP and by HTTP
	my $early = player($name);
	my $flv = flv_play($name, wait => 0);
	http_get('/live/');
	$p->send_audio(0, audio_header());
	$p->send_video(0, video_header());

	# longer than anybody waits to see which tracks there are
	my ($n, $end) = (0, Time::HiRes::time() + 1);
	while (Time::HiRes::time() < $end) {
		frame($p, $silent, $n++);
		select undef, undef, undef, 0.02;
	}
	my $last = $n - 1;
	is(unwanted(tags($early, $silent, $last), $silent), 0, "$silent: a player that waited");
	$flv->answered();
	is($flv->flags(), $flags, "$silent: flags of one over HTTP");
	is(unwanted(tags($flv, $silent, $last), $silent), 0, "$silent: and its tags");

	my $late = player($name);
	is(unwanted(tags($late, $silent, $last), $silent), 0, "$silent: a player that comes later");
	my $flv_late = flv_play($name);
	is($flv_late->flags(), $flags, "$silent: flags of one over HTTP");
	is(unwanted(tags($flv_late, $silent, $last), $silent), 0, "$silent: and its tags");

	# its frames come after all, and the header stands before them
	my ($send, $frame) = $silent eq 'audio' ? (\&Test::Nginx::RTMP::send_audio, audio_frame(99))
		: (\&Test::Nginx::RTMP::send_video, key_frame(99));
	$send->($p, $n * 40, $frame);
	for my $player ([$early, 'that waited'], [$late, 'that came later']) {
		my $first = $player->[0]->read_until(sub { $_[0]{type} == ($silent eq 'audio' ? 8 : 9) });
		my $next = $player->[0]->read_until(sub { $_[0]{type} == ($silent eq 'audio' ? 8 : 9) });
		is_deeply([$first->{payload}, $next->{payload}], [$HEADER{$silent}, $frame],
			"$silent comes after all, to one $player->[1]");
	}
	is(flv_play($name)->flags(), 5, "$silent: is announced then");
}

###############################################################################

sub frame {
	my ($publisher, $silent, $n) = @_;
	return $publisher->send_audio($n * 40, audio_frame($n)) if $silent eq 'video';
	return $publisher->send_video($n * 40, $n % 25 ? inter_frame($n) : key_frame($n));
}

# What a player gets up to the frame of that number: types.
sub tags {
	my ($player, $silent, $last) = @_;
	my @frames = $silent eq 'video' ? (audio_frame($last)) : (inter_frame($last), key_frame($last));
	my @types;
	while (my $message = $player->can('read_tag') ? $player->read_tag() : $player->read_message()) {
		push @types, $message->{type};
		return @types if grep { $message->{payload} eq $_ } @frames;
	}
	return (@types, 'cut off');
}

sub unwanted {
	my $silent = pop;
	my $type = $silent eq 'audio' ? 8 : 9;
	return scalar grep { $_ eq 'cut off' || $_ == $type } @_;
}

###############################################################################
