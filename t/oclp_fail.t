#!/usr/bin/perl

# oclp_fail: who publishes or plays is let in without an answer, or refused.

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

my $t = Test::Nginx->new()->plan(52);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

rtmp {
    rtmp_auto_pull_port unix:%%TESTDIR%%/rtmp;
    live on;
    oclp_fail closed;

    server {
        listen 127.0.0.1:8080;

        application inherits {
            oclp_play http://127.0.0.1:8081/p stage=update,done update=50ms timeout=500ms;
            oclp_publish http://127.0.0.1:8081/p stage=update,done update=50ms timeout=500ms;
        }

        application open {
            oclp_fail open;
            oclp_play http://127.0.0.1:8081/p stage=update,done update=50ms timeout=500ms;
            oclp_publish http://127.0.0.1:8081/p stage=update,done update=50ms timeout=500ms;
            oclp_stream http://127.0.0.1:8081/p stage=done;
        }
    }

    server {
        listen 127.0.0.1:8082;
        oclp_fail open;

        application server {
            oclp_play http://127.0.0.1:8081/p stage=done timeout=500ms;
            oclp_publish http://127.0.0.1:8081/p stage=done timeout=500ms;
        }
    }
}

EOC

my $oclp = oclp_server($t, port(8081));
$t->run();

###############################################################################

my $n = 0;
my %broken = ('no answer' => { hang => 1 }, 'closed' => { raw => '' },
	'half an answer' => { raw => 'HTTP/1.1 200' }, 'garbage' => { raw => "garbage\x0d\x0a\x0d\x0a" });

for my $what (sort keys %broken) {
	$oclp->answer('*', %{$broken{$what}});
	for my $role (qw/ publish play /) {
		is(client('inherits', $role)->status(), "NetStream.\u$role.Forbidden", "closed, $role, $what: refused");
		my $p = client('open', $role);
		is($p->status(), "NetStream.\u$role.Start", "open, $role, $what: let in");
		my $other = client('server', $role);
		is($other->status(), "NetStream.\u$role.Start", "open, $role, $what: of the server block");
		$_->close() for $p, $other;
	}
}

# what is no answer is told of as done, if it was let in, and never of updates

my %seen;
wait_for {
	%seen = ();
	$seen{"$_->{app} $_->{act}"}++ for grep { $_->{call} ne 'stream' } $oclp->requests();
	($seen{'open done'} // 0) == 8 && ($seen{'server done'} // 0) == 8;
};
is($seen{'open done'}, 8, 'open: done of each');
is($seen{'server done'}, 8, 'open, of the server block: done of each');
is($seen{'inherits done'}, undef, 'closed: no done');
is($seen{'open update'}, undef, 'open: no updates');

# nobody listens

$oclp->stop();
for my $role (qw/ publish play /) {
	is(client('inherits', $role)->status(), "NetStream.\u$role.Forbidden", "closed, $role, no server: refused");
	is(client('open', $role)->status(), "NetStream.\u$role.Start", "open, $role, no server: let in");
}

# an answer is one, whatever oclp_fail says

$oclp->start();
for my $status (200, 204, 302, 403, 500) {
	$oclp->answer('*', status => $status);
	for my $app (qw/ inherits open /) {
		for my $role (qw/ publish play /) {
			is(client($app, $role)->status(), "NetStream.\u$role." . ($status == 200 ? 'Start' : 'Forbidden'),
				"$app, $role, $status");
		}
	}
}

###############################################################################

sub client {
	my ($app, $role) = @_;
	my $p = rtmp_connect(port($app eq 'server' ? 8082 : 8080), $app);
	$p->$role('name' . ++$n);
	return $p;
}

###############################################################################
