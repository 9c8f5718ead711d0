package Test::Nginx::Conf;

# What nginx says of a configuration.
#
#	is(conf_check($t, 'rtmp { live maybe; }'), 'invalid value ...');

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ conf_check /;

# Runs nginx -t on the text, which is expanded as always, with what every
# configuration needs around it; the messages of level warn and above, without
# the place in the file, and empty if nginx would start and has nothing to say.
sub conf_check {
	my ($t, $conf) = @_;

	$t->write_file_expand('check.conf', <<"END" . $conf);
%%TEST_GLOBALS%%
events {}
END
	# nginx ends without freeing what it has read
	local $ENV{ASAN_OPTIONS} = join ':',
		grep { defined } $ENV{ASAN_OPTIONS}, 'detect_leaks=0';

	my $dir = $t->testdir();
	mkdir "$dir/logs";
	my $output = `$Test::Nginx::NGINX -t -p $dir/ -c check.conf -e error.log 2>&1`;
	my $failed = $?;
	# it leaves an empty one behind, and no nginx runs yet
	unlink "$dir/nginx.pid" if -z "$dir/nginx.pid";

	my @messages = $output =~ /^nginx: \[(?:warn|error|crit|alert|emerg)\] (.*)/gm;
	s{ in \Q$dir\E/check\.conf:\d+$}{} for @messages;
	push @messages, 'failed without a message' if $failed && !@messages;
	push @messages, 'and starts' if @messages && !$failed;
	return join "\n", @messages;
}

1;
