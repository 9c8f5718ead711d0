#!/usr/bin/perl

# The cache is as long as the stream's time says, whatever the clocks of its tracks do.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $hour = 3_600_000;

# what audio counts from, and one of its frames in between
my %CLOCKS = (
	'as video' => [$hour],
	'an hour behind' => [0],
	'an hour ahead' => [2 * $hour],
	'as video, with a fault far ahead' => [$hour, 4 * $hour],
	'as video, with a fault far behind' => [$hour, 0],
);

my $t = Test::Nginx->new()->plan(2 * keys %CLOCKS);

live_run($t, app => 'cache_time 1s;');

###############################################################################

for my $clocks (sort keys %CLOCKS) {
	my ($base, $fault) = @{$CLOCKS{$clocks}};
	my $name = $clocks =~ s/\W//gr;
	my $p = publisher($name);
	$p->send_video(0, video_header());
	$p->send_audio(0, audio_header());
	# groups of half a second, to 3.96 s
	for my $n (0 .. 99) {
		$p->send_video($hour + $n * 40, $n % 12 ? inter_frame($n) : key_frame($n));
		$p->send_audio($n == 90 && defined $fault ? $fault : $base + $n * 40, audio_frame($n));
	}
	$p->result($p->command('createStream', undef));
	my $v = player($name);
	my $first = $v->read_until(sub { $_[0]{payload} =~ /^\x17\x01/ });
	is($first->{payload}, key_frame(84), "audio $clocks: players start where it covers a second");
	is($first->{timestamp}, $hour + 84 * 40, "audio $clocks: with its own time");
}

###############################################################################
