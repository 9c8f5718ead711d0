#!/usr/bin/perl

# A fault of a clock passes: a frame that says something else, a straggler, one of another track.

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

# what some frames say, from the twentieth on, in place of their time
my %FAULTS = (
	'nothing' => [0],
	'nothing, three times' => [0, 0, 0],
	'the time of two hours ago' => [2 * 1000, 2 * 1000 + 40],
	'an hour ahead' => [2 * $hour + 800],
	'the end of all time' => [0xFFFFFFFF],
	'half of it' => [1 << 31],
	'a minute ahead, then nothing' => [$hour + 60_000, 0],
	'what was a second ago' => [$hour + 100],
	'what was a second ago, and further' => [$hour + 100, $hour + 140],
);

my $t = Test::Nginx->new()->plan(4 * keys %FAULTS);

live_run($t);

###############################################################################

for my $fault (sort keys %FAULTS) {
	my @faults = @{$FAULTS{$fault}};
	for my $hit (qw/ audio video /) {
		my %got = played("$fault $hit" =~ s/\W//gr, $hit, @faults);
		my ($other) = grep { $_ ne $hit } qw/ audio video /;
		is_deeply($got{$other}, [map { $hour + $_ * 40 } 0 .. 59], "$other when $hit says $fault");
		my @times = @{$got{$hit}};
		my $back = grep { $times[$_] < $times[$_ - 1] } 1 .. $#times;
		splice @times, 20, scalar @faults;
		my @good = map { $hour + $_ * 40 } 0 .. 19, 20 + @faults .. 59;
		is_deeply([$back, @times], [0, @good], "$hit itself, but for these");
	}
}

###############################################################################

# The timestamps that a player sees of sixty frames of each track.
sub played {
	my ($name, $hit, @faults) = @_;
	my $p = publisher($name);
	$p->send_video($hour, video_header());
	$p->send_audio($hour, audio_header());
	my $v = player($name);
	$v->result($v->command('createStream', undef));
	for my $n (0 .. 59) {
		my $fault = $n >= 20 ? $faults[$n - 20] : undef;
		my %at = (video => $hour + $n * 40, audio => $hour + $n * 40);
		$at{$hit} = $fault if defined $fault;
		$p->send_video($at{video}, key_frame($n));
		$p->send_audio($at{audio}, audio_frame($n));
	}
	my %got;
	for (1 .. 120) {
		my $message = $v->read_until(sub { $_[0]{payload} =~ /^[\x17\xaf]\x01/ }) or last;
		push @{$got{$message->{type} == RTMP_VIDEO ? 'video' : 'audio'}}, $message->{timestamp};
	}
	return %got;
}

###############################################################################
