#!/usr/bin/perl

# Tests for scripts/layers: what it takes for an import, and what it refuses.

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Basename;
use File::Path;
use File::Temp;

# of each case, the files that differ from a workspace without fault
my %cases = (
	'use of a room above' => ['src/nginx.rs', 'use crate::conf::Conf;', 'upward import of src/conf.rs'],
	'a room above in an expression' =>
		['src/nginx/event.rs', 'fn f() { crate::conf::parse() }', 'upward import of src/conf.rs'],
	'a room above by super' => ['src/nginx/event.rs', 'use super::super::conf::Conf;', 'upward import of src/conf.rs'],
	'a room above in a list of a list' =>
		['src/nginx.rs', 'use {std::fmt, crate::{conf::{self, Conf}, nginx}};', 'upward import of src/conf.rs'],
	'a room above under another name' =>
		['src/nginx.rs', 'use crate::conf as c; fn f() { c::limit::g() }', 'upward import of src/conf/limit.rs'],
	'a room above in a macro' =>
		['src/nginx.rs', 'macro_rules! m { () => { $crate::conf::f() } }', 'upward import of src/conf.rs'],
	'a room above from within a module of the file' =>
		['src/nginx.rs', 'mod a { mod b { use super::super::super::conf::C; } }', 'upward import of src/conf.rs'],
	'lib.rs' => ['src/nginx.rs', 'fn f() { crate::ngx_module }', 'upward import of src/lib.rs'],
	'a room of the same floor' => ['src/conf.rs', 'use crate::directory::D;', 'upward import of src/directory.rs'],
	'a room that no layer has' => ['src/other.rs', '', 'stands in no layer'],
	'a circle of two files' => ['src/nginx/event.rs', 'use super::task::Task;', 'circle of 2 files'],
	'a circle with the room itself' => ['src/conf/limit.rs', 'use super::Conf;', 'circle of 2 files'],
	'a circle in another crate' => ['live/src/wire.rs', 'use crate::Stream;', 'circle of 2 files'],
	'a crate that is not below' => ['live/Cargo.toml', "[dependencies]\nx = { path = \"../scheduler\" }", 'depends on'],
	'a crate above' => ['protocol/Cargo.toml', "[dependencies]\nx = { path = \"../live\" }", 'depends on'],

	'a long file' => ['src/nginx.rs', "\n" x 501, '501 lines'],
	'a walk with a step that is no import' => ['src/directory.rs', '', 'src/directory.rs does not import src/variables.rs'],
	'a walk through a file that is not there' =>
		['docs/architecture.md', "## Layers\n\n    conf/ directory/\n    nginx/ variables.rs\n    --\n    live/\n    protocol/\n\n" .
			"## The way of a message\n\n    src/gone.rs\n", 'src/gone.rs is not there'],

	'a comment' => ['src/nginx.rs', "// crate::conf::f\n/* use crate::conf; /* */ use crate::conf; */"],
	'a text' => ['src/nginx.rs', q{const A: &str = "\" use crate::conf;"; const B: &str = r#"" crate::conf::f "#;}],
	'a character' => ['src/nginx.rs', q{fn f<'a>(x: &'a str) { x.split('"').map('\''.f); } // " crate::conf::f}],
	'tests within a file' => ['src/conf/limit.rs', "#[cfg(test)]\nmod tests { use super::*; }"],
	'another crate of the same name' => ['src/nginx.rs', 'use ::conf::f; use std::conf::g;'],
	'a file with the name of a root' => ['src/conf/main.rs', 'use crate::nginx::log;'],
	'for whom something is visible' => ['src/conf/limit.rs', 'pub(in crate::conf) fn f() {}'],
	'a file beside' => ['src/nginx/event.rs', 'use super::log;'],
);

plan(tests => 1 + keys %cases);

is(layers([]), "layers: 0 upward, 0 circles\n", 'nothing');

for my $name (sort keys %cases) {
	my ($file, $text, $fault) = @{ $cases{$name} };
	my $answer = layers([$file, $text]);
	if (defined $fault) {
		like($answer, qr/\Q$fault\E.*^failed$/ms, "$name is refused");
	} else {
		is($answer, "layers: 0 upward, 0 circles\n", "$name is none");
	}
}

# What the script says of a small workspace in which one file differs.
sub layers {
	my ($change) = @_;
	my $dir = File::Temp->newdir();
	my %files = (
		'docs/architecture.md' => <<'EOF',
## Layers

    lib.rs                  the root
    conf/  directory/       the configuration
        which may be long
    nginx/  variables.rs    the bottom
    -- crates --
    live/
    protocol/

## The way of a message

    src/directory.rs        begins
      src/nginx/task.rs     and goes down
        live/src/lib.rs     out of the crate
          live/src/wire.rs  to the end
      src/variables.rs      and down again

    src/conf.rs             goes another way

## Others

    other/                  not a layer
EOF
		'Cargo.toml' => "[dependencies]\nx = { path = \"live\" }\n",
		'live/Cargo.toml' => "[dependencies]\nx = { path = \"../protocol\" }\n",
		'protocol/Cargo.toml' => '',
		'scheduler/Cargo.toml' => '',
		'src/lib.rs' => "mod conf;\nmod directory;\nmod nginx;\nmod variables;\nconst A: u32 = conf::A;\n",
		'src/conf.rs' => "pub mod limit;\nuse crate::nginx::task::Task;\nuse limit::Limit;\n",
		'src/conf/limit.rs' => "use crate::variables;\n",
		'src/directory.rs' => "use crate::nginx::task;\nuse crate::variables;\n",
		'src/nginx.rs' => '',
		'src/nginx/event.rs' => '',
		'src/nginx/log.rs' => '',
		'src/nginx/task.rs' => "use super::event;\nuse live::Wire;\n",
		'src/variables.rs' => '',
		'live/src/lib.rs' => "mod wire;\nuse wire::Wire;\n",
		'live/src/wire.rs' => '',
		'protocol/src/lib.rs' => '',
		@$change,
	);
	for my $file (keys %files) {
		File::Path::make_path(dirname("$dir/$file"));
		open my $handle, '>', "$dir/$file" or die "$file: $!";
		print $handle $files{$file};
	}
	my $answer = `../scripts/layers $dir 2>&1`;
	return $? ? "${answer}failed\n" : $answer;
}
