#!/usr/bin/perl

# Tests for docs/directives.md: it describes the directives that the tables in
# src/ declare, with their contexts and defaults, and nginx takes these defaults.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Find;
use Test::Nginx;
use Test::Nginx::Conf;

my $t = Test::Nginx->new();

my %declared = declared('../src');
my %documented = documented('../docs/directives.md');

my @names = sort keys %{{ %declared, %documented }};
$t->plan(@names + 4);

for my $name (@names) {
	is_deeply($documented{$name}, $declared{$name}, $name);
}

# one configuration with every default in every context

my %blocks = map { $_ => '' } qw/ rtmp server application /;
for my $name (@names) {
	my $default = $documented{$name}{default} // next;
	next if grep { $_ eq 'location' } @{$documented{$name}{contexts}};
	for my $context (@{$documented{$name}{contexts}}) {
		$blocks{$context} .= "$name $default;\n" if exists $blocks{$context};
	}
}
is(conf_check($t, "rtmp { $blocks{rtmp} server { $blocks{server} "
	. "application live { $blocks{application} } } }"), '', 'defaults');

my $text = text('../docs/directives.md');
my %anchors = map { $_ => 1 } headings($text);
is(join(' ', grep { !$anchors{$_} } $text =~ /\]\(#([^)]+)\)/g), '', 'links');

# the list at the top names them all
my ($contents) = $text =~ /^(- \[Example configuration\].*?)\n\n/ms;
is(join(' ', grep { $contents !~ /\b$_\b/ } @names), '', 'contents');

my %variables = map { $_ => 1 } text('../src/variables.rs') =~ /^ {4}\("(\w+)", \w+::\w+\),$/mg;
my %described = map { $_ => 1 }
	map { /`\$([a-z_0-9]+)`/g } $text =~ /^(\| `\$.*?) \|/mg;
is_deeply(\%described, \%variables, 'variables');

###############################################################################

sub text {
	my ($path) = @_;
	open my $file, '<', $path or die "cannot open $path: $!\n";
	local $/;
	return <$file>;
}

sub headings {
	my ($text) = @_;
	return map { s/ /-/gr } map { lc } $text =~ /^#+ (.*)$/mg;
}

# What the tables declare: name => { contexts => [...], default => '...' }
sub declared {
	my ($dir) = @_;

	my %contexts = (
		NGX_MAIN_CONF => ['main'],
		M => ['rtmp'], S => ['server'], A => ['application'],
		MS => [qw/ rtmp server /], MSA => [qw/ rtmp server application /],
		SA => [qw/ server application /],
		L => ['location'],
		HSL => [qw/ http server location /],
	);

	my %declared;
	find({ no_chdir => 1, wanted => sub {
		return if !/\.rs$/;
		my $source = text($_);
		while ($source =~ /\b(?:flag|time|size|number|setting|accepted|any|block)\(\s*
				c"(\w+)",\s*(\w+),\s*
				(?:Some\(\s*"([^"]*)"|"([^"]*)"|[\w:]+)/xg)
		{
			my ($name, $where, $default) = ($1, $2, $3 // $4);
			die "contexts of $name: $where\n" if !$contexts{$where};
			die "$name is declared twice\n" if $declared{$name};
			$declared{$name} = {
				contexts => $contexts{$where},
				default => $default,
			};
		}
	} }, $dir);
	return %declared;
}

# The same, as the page has it.
sub documented {
	my ($path) = @_;

	my %documented;
	for my $entry (split /^### /m, text($path)) {
		my ($name) = $entry =~ /^(\w+)\n\n\| \| \|\n/ or next;
		my %row = $entry =~ /^\| (\w+): \| (.*) \|$/mg;
		my ($default) = $row{Default} =~ /^`\Q$name\E (.*);`$/;
		$default =~ s/\\\|/|/g if defined $default;
		die "syntax of $name\n" if $row{Syntax} !~ /^`\Q$name\E /;
		die "default of $name\n"
			if !defined $default && $row{Default} ne "\xe2\x80\x94";
		$documented{$name} = {
			contexts => [ $row{Context} =~ /`(\w+)`/g ],
			default => $default,
		};
	}
	return %documented;
}
