#!/usr/bin/perl

# $groupid in args= of a callback is the groupid= of its line, or nothing; each line has its own.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ live_run publisher player /;
use Test::Nginx::OCLP;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(2);

live_run($t, app => <<'EOC');
            oclp_publish http://127.0.0.1:%%PORT_8081%%/ groupid=g+1 args=mine=$groupid stage=start,done;
            oclp_play http://127.0.0.1:%%PORT_8081%%/ args=mine=$groupid;
            oclp_push http://127.0.0.1:%%PORT_8081%%/ groupid=one args=mine=${groupid}!;
            oclp_push http://127.0.0.1:%%PORT_8081%%/ groupid=two args=mine=${groupid}!;
EOC
my $oclp = oclp_server($t, port(8081));

###############################################################################

my $p = publisher('s');
my $v = player('s');
$_->close() for $v, $p;
$oclp->wait_requests('publish done', 1);
$oclp->wait_requests('push start', 2);
is_deeply([sort map { "$_->{call} $_->{act} $_->{args}" } grep { $_->{call} ne 'push' } $oclp->requests()],
	['play start mine=', 'publish done mine=g%2B1', 'publish start mine=g%2B1'], 'one, and none');
is_deeply([sort map { "$_->{groupid} $_->{args}" } $oclp->requests('push start')],
	['one mine=one!', 'two mine=two!'], 'and each its own');

###############################################################################
