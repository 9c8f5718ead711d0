#!/usr/bin/perl

# docs/security.md names a test for each abuse, and all that it names is there.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

open my $file, '<', '../docs/security.md' or die "cannot open docs/security.md: $!\n";
my @lines = <$file>;

my %rows = map { /^\| A(\d+) \|(?:[^|]*\|){2}(.*)\|$/ ? ($1 => $2) : () } @lines;
is(join(' ', grep { !$rows{$_} } 1 .. 26), '', 'every abuse has its row');

# what has no test says why there is nothing to test
my @untested = grep { $rows{$_} !~ /\]\(/ } sort { $a <=> $b } keys %rows;
is(join(' ', @untested), '18', 'every row has its tests');

my @missing = grep { !-e "../docs/$_" } map { /\]\(((?!http)[^)#]+)/g } @lines;
is(join(' ', @missing), '', 'every file is there');

open my $directives, '<', '../docs/directives.md' or die "cannot open docs/directives.md: $!\n";
my %anchors = map { /^### (\w+)/ ? ($1 => 1) : () } <$directives>;
my @unknown = grep { !$anchors{$_} } map { /directives\.md#(\w+)\)/g } @lines;
is(join(' ', @unknown), '', 'every directive is there');

done_testing();

###############################################################################
