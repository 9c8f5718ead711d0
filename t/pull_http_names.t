#!/usr/bin/perl

# A pull over HTTP from another server of ours reaches the stream of the same name, whatever bytes
# the name holds; a name that stands in the url is asked for as it is written.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Live qw/ video_header key_frame /;
use Test::Nginx::Relay;
use Test::Nginx::RTMP;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my @names = ('cam', 'cam 1', 'a+b', 'a=b&c', '100%', 'a%2Fb', 'room/cam', 'room/', 'a//b', './a', 'a/../b',
	'x.flv', 'x.flv.flv', 'room/x.flv', '.flv', "\xe4\xb8\xad", "\xff", '#', '"<>\\^`{|}[]');

my $t = Test::Nginx->new()->plan(@names + 2);

relay_run($t, http => <<'EOC', near => <<'EOC2');
    server {
        listen 127.0.0.1:8080;
        location / {
            flv_live 127.0.0.1:%%PORT_1936%%;
        }
    }
EOC
            pull http://127.0.0.1:%%PORT_8080%%;
        }

        application written {
            live on;
            pull http://127.0.0.1:%%PORT_8080%%/live/written.flv;
        }

        application named {
            live on;
            pull http://127.0.0.1:%%PORT_8080%%/live name=x.flv;
EOC2

###############################################################################

my $n = 0;
for my $name (@names) {
	my $p = far_publisher($name, ++$n);
	my $v = near();
	$v->play($name);
	ok(plays($v, $n), "'" . ($name =~ s/([^\x20-\x7e])/sprintf '\\x%02x', ord $1/ger) . "'");
	$_->close() for $v, $p;
}

my $p = far_publisher('written', ++$n);
my $v = near('written');
$v->play('any.flv');
ok(plays($v, $n), 'a name in the url, with .flv');
$p = far_publisher('x.flv', ++$n);
$v = near('named');
$v->play('any');
ok(plays($v, $n), 'name=x.flv');

###############################################################################

sub far_publisher {
	my ($name, $number) = @_;
	my $p = far();
	$p->publish($name);
	$p->send_video(0, video_header());
	$p->send_video(0, key_frame($number));
	$p->result($p->command('createStream', undef));
	return $p;
}

sub plays {
	my ($v, $number) = @_;
	while (my $message = $v->read_video()) {
		return 1 if $message->{payload} eq key_frame($number);
	}
	return 0;
}

###############################################################################
