#!/usr/bin/perl

# Every configuration in nginx-conf is one that nginx takes, as it is but for its ports.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @confs = (glob('../nginx-conf/*.conf'), glob('../nginx-conf/cluster/*.conf'));

my $t = Test::Nginx->new()->has(qw/ http /)->plan(scalar @confs);
my $d = $t->testdir();
my $nginx = $ENV{TEST_NGINX_BINARY} || 'nginx';
my ($module) = ($ENV{TEST_NGINX_GLOBALS} // '') =~ /load_module (\S+ngx_rtmp_module\.so);/;

for my $conf (@confs) {
	open my $file, '<', $conf or die "cannot open $conf: $!\n";
	my $text = do { local $/; <$file> };
	# where the module is on this machine, and a socket directory that goes with the test
	$text =~ s/^load_module .*;/$module ? "load_module $module;" : ''/me;
	$text =~ s!unix:/tmp/!unix:$d/!g;
	# nginx -t listens, and others test beside
	$text =~ s/\b(listen|flv_live)(\s+(?:[\d.]+:)?)(\d+)/$1 . $2 . port($3)/ge;
	$t->write_file('example.conf', $text);
	mkdir "$d/logs";
	my $said = `$nginx -t -p $d/ -c $d/example.conf -e $d/logs/error.log 2>&1`;
	ok($? == 0 && $said !~ /\[(?:emerg|alert|crit)\]/, $conf =~ s/.*nginx-conf.//r) or diag($said);
}

###############################################################################
