#!/usr/bin/perl

# Updates come one after the other, update= after the last answer, and stop at the
# end.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::OCLP;
use Test::Nginx::Process;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->plan(15);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    server {
        listen 127.0.0.1:8080;
        live on;

        application test {
            oclp_publish http://127.0.0.1:8081/p stage=update,done update=200ms timeout=500ms;
        }

        application never {
            oclp_publish http://127.0.0.1:8081/p stage=done update=50ms timeout=500ms;
        }

        application only {
            oclp_publish http://127.0.0.1:8081/p stage=update update=50ms;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

# the answer is late: the time counts from it, and nothing overlaps

$oclp->answer('publish update', status => 500, delay => 0.2);
my $p = publisher('test', 'late');
my @updates = $oclp->wait_requests('publish update', 3);
cmp_ok($updates[1]{time} - $updates[0]{time}, '>=', 0.39, 'counted from the answer');
cmp_ok($updates[2]{time} - $updates[1]{time}, '<', 0.9, 'and not from much later');

# done waits for an update that is under way

$p->close();
my ($done) = $oclp->wait_requests('publish done', 1);
my @events = $oclp->events();
is($events[-1], 'publish done', 'done is the last');
$oclp->answer('publish update', status => 200, delay => 0.3);
$p = publisher('test', 'under_way');
my $seen = @updates;
@updates = $oclp->wait_requests('publish update', $seen + 1);
$p->close();
($done) = reverse $oclp->wait_requests('publish done', 2);
cmp_ok($done->{time} - $updates[-1]{time}, '>=', 0.29, 'done behind an update under way');

# an update that is not answered is over at the timeout, and the next one comes

$oclp->answer('publish update', hang => 1);
$p = publisher('test', 'hang');
$seen = $oclp->requests('publish update');
@updates = $oclp->wait_requests('publish update', $seen + 2);
my $between = $updates[-1]{time} - $updates[-2]{time};
cmp_ok($between, '>=', 0.69, 'timeout and update');
cmp_ok($between, '<', 1.5, 'no longer');
$p->close();
is(scalar($oclp->wait_requests('publish done', 3)), 3, 'done behind a hanging update');

# no answer is of any consequence

for my $answer ([ status => 403 ], [ status => 302, headers => [ Location => 'rtmp://h/a/n' ] ],
	[ raw => '' ])
{
	$oclp->answer('publish update', @$answer);
	$p = publisher('test', 'ignored');
	$seen = $oclp->requests('publish update');
	$oclp->wait_requests('publish update', $seen + 2);
	ok(!$p->closed(0.1), "$answer->[0] $answer->[1] ignored");
	$p->close();
}
is(scalar($oclp->wait_requests('publish done', 6)), 6, 'done of each');

# none without the stage; and none after the end

$oclp->answer('publish update', status => 200);
$p = publisher('never', 'never');
my $only = publisher('only', 'only');
wait_for { 3 <= grep { $_->{name} eq 'only' } $oclp->requests('publish update') };
is(scalar(grep { $_->{name} eq 'never' } $oclp->requests('publish update')), 0,
	'no update without the stage');
$_->close() for $p, $only;
$oclp->wait_requests('publish done', 7);
$seen = $oclp->requests('publish update');
select undef, undef, undef, 0.3;
cmp_ok($oclp->requests('publish update') - $seen, '<=', 1, 'no update after the end');
is(scalar(grep { $_->{name} eq 'only' } $oclp->requests('publish done')), 0,
	'no done without the stage');

# start, updates, done: for each

my %order;
$order{"$_->{name}"} .= substr($_->{act}, 0, 1) for $oclp->requests();
is(join(' ', grep { $order{$_} !~ /^(su*d?)+$/ } sort keys %order), '', 'the order of all');

###############################################################################

sub publisher {
	my ($app, $name) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->publish($name);
	return $p;
}

###############################################################################
