#!/usr/bin/perl

# A reload that changes a line oclp_stream: the url that heard the start of a stream hears
# its updates and its end, and the new one hears of it from its own first client on.

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

my $t = Test::Nginx->new()->plan(11);

conf('old', 'a');
my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my ($changed, $args, $same) = map { client($_, 'publish') } qw/ url args same /;
is(count('start', 'url'), '/old 1', 'start');
is(count('start', 'args', 1), 'a 1', 'start, with args');
is(count('start', 'same', 1), '/same 1', 'start of a line that stays as it is');

my %old = map { $_ => 1 } worker_pids($t);
conf('new', 'b');
$t->reload();
wait_for { grep { !$old{$_} } worker_pids($t) };
my @players;
wait_for {
	# the old workers may take some more
	push @players, map { client($_, 'play') } qw/ url args same /;
	$oclp->requests('/new stream start') && grep { $_->{args} eq 'b' } $oclp->requests('stream start');
};
is(count('start', 'url', 2), '/new 1 /old 1', 'the new line hears a start');
is(count('start', 'args', 2), 'a 1 b 1', 'new args are a new line, too');
my $seen = grep { $_->{path} eq '/old' } $oclp->requests('stream update');
ok(wait_for { $seen + 2 <= grep { $_->{path} eq '/old' } $oclp->requests('stream update') },
	'the old line still hears updates');

# the new clients leave: the old line's stream goes on

$_->close() for @players;
is(count('done', 'url', 1), '/new 1', 'the new line hears the end of what it was told of');
$_->close() for $changed, $args, $same;
is(count('done', 'url', 2), '/new 1 /old 1', 'and the old one when the last of its clients leaves');
is(count('done', 'args', 2), 'a 1 b 1', 'with the args of the start');
is(count('done', 'same', 1), '/same 1', 'the line that was not changed: one end');
is(count('start', 'same', 1), '/same 1', 'and one start');

###############################################################################

sub conf {
	my ($url, $args) = @_;
	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
worker_shutdown_timeout 60s;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;

    server {
        listen 127.0.0.1:%%PORT_8080%%;
        live on;

        application url {
            oclp_stream http://127.0.0.1:%%PORT_8081%%/$url stage=update,done update=50ms;
        }

        application args {
            oclp_stream http://127.0.0.1:%%PORT_8081%%/args stage=done args=$args;
        }

        application same {
            oclp_stream http://127.0.0.1:%%PORT_8081%%/same stage=done;
        }
    }
}

EOC
}

sub client {
	my ($app, $role) = @_;
	my $p = rtmp_connect(port(8080), $app);
	$p->$role('name');
	return $p;
}

# Who has heard, and how often; when there are so many in all (1).
sub count {
	my ($act, $app, $least) = @_;
	my @heard;
	wait_for {
		@heard = grep { $_->{app} eq $app } $oclp->requests("stream $act");
		@heard >= ($least // 1);
	};
	my %count;
	$count{$app eq 'args' ? $_->{args} : $_->{path}}++ for @heard;
	return join ' ', map { "$_ $count{$_}" } sort keys %count;
}

# the subs hold it, and it must end before the tests are counted
undef $t;

###############################################################################
