#!/usr/bin/perl

# meta off sends no metadata, meta on only what is known.

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

my $t = Test::Nginx->new()->plan(2);

live_run($t, app => 'meta on;');

###############################################################################

my $p = publisher('s');
my $v = player('s');
$p->send_data(0, '@setDataFrame', 'onMetaData', { width => 640, secret => 'x' });
$p->send_data(0, 'onTextData', { text => 'hello' });
my $is = sub { my $name = shift; sub { ref $_[0]{values} && $_[0]{values}[0] eq $name } };
my $meta = $v->read_until($is->('onMetaData'));
is_deeply({%{$meta->{values}[1]}}, { width => 640 }, 'what is known');
ok($v->read_until($is->('onTextData')), 'other data is not touched');

###############################################################################
