# Shared by the scripts in this directory; sourced, not run.
# Progress goes to stderr, so that what a script answers on stdout can be used by another.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# cargo's own variable moves everything that is built
target=${CARGO_TARGET_DIR:-$top/target}

# --no-install of the calling script
may_install=${may_install:-yes}

if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
else
	bold='' green='' red='' plain=''
fi

say() { echo "${bold}==>${plain} $*" >&2; }
note() { echo "    $*" >&2; }
die() { echo "${red}${0##*/}:${plain} $*" >&2; exit 1; }

# seconds since the first argument (a value of EPOCHREALTIME), one decimal
since() {
	local us=$((${EPOCHREALTIME//[.,]/} - ${1//[.,]/}))
	printf '%d.%d' $((us / 1000000)) $((us % 1000000 / 100000))
}

# step WHAT COMMAND...: says what is done and how long it took; the command's exit code is returned
step() {
	local what=$1 start=$EPOCHREALTIME code=0
	shift
	say "$what"
	"$@" || code=$?
	if [ "$code" = 0 ]; then
		note "${green}done${plain} in $(since "$start") s"
	else
		note "${red}failed${plain} after $(since "$start") s (exit code $code)"
	fi
	return "$code"
}

# quiet LOG COMMAND...: keeps the output in LOG and shows its end only if the command fails
quiet() {
	local log=$1
	shift
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 && return
	local code=$?
	tail -n 30 "$log" >&2
	note "the whole output is in $log"
	return "$code"
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed for: $*"
	fi
}

have_package() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# need_packages WHY PACKAGE...: installs those that are missing, or names them if installing is not wanted
need_packages() {
	local why=$1 package missing=()
	shift
	command -v dpkg-query >/dev/null || return 0 # not Debian: what is missing shows itself
	for package; do
		have_package "$package" || missing+=("$package")
	done
	[ ${#missing[@]} = 0 ] && return
	[ "$may_install" = yes ] ||
		die "missing ($why): apt-get install --no-install-recommends ${missing[*]}"
	fresh_lists install --simulate --no-install-recommends "${missing[@]}"
	step "installing ${missing[*]} ($why)" quiet "$target/log/apt.log" \
		as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get install -y --no-install-recommends "${missing[@]}"
}

# the version that the published tables were made with
node_media_server=node-media-server@4.4.3
# an ffmpeg of a known version, newer than Debian's
imageio_ffmpeg=imageio-ffmpeg==0.8.1

# where the npm package node-media-server is, installed or not
node_media_server_dir() { echo "$target/bench/node-media-server"; }

# Installs it if there is npm; without, whatever needs it is left out.
install_node_media_server() {
	local dir
	dir=$(node_media_server_dir)
	[ ! -d "$dir/node_modules/node-media-server" ] || return 0
	if ! command -v npm >/dev/null; then
		note "no npm here: node-media-server is left out"
		return 0
	fi
	step "installing $node_media_server" quiet "$target/log/node-media-server.log" \
		npm install --ignore-scripts --no-audit --no-fund --prefix "$dir" "$node_media_server"
}

# fresh_lists APT-GET-ARGUMENT...: apt-get update, unless apt-get can do this by the lists that are there
fresh_lists() {
	apt-get "$@" >/dev/null 2>&1 ||
		step "updating apt's lists" quiet "$target/log/apt-update.log" as_root apt-get update
}

need_rust() {
	command -v cargo >/dev/null ||
		die "cargo is not installed; Rust 1.88 or newer is needed (https://rustup.rs)"
}

# nginx's version number (1022001) and name (1.22.1) by its header or by its binary
header_version() { sed -n 's/^#define nginx_version *\([0-9]*\).*/\1/p' "$1/src/core/nginx.h"; }
binary_version() { "$1" -v 2>&1 | sed -n 's,^nginx version: [^/]*/\([0-9.]*\).*,\1,p'; }
version_name() { echo "$(($1 / 1000000)).$(($1 / 1000 % 1000)).$(($1 % 1000))"; }

# where the installed nginx is; it lives in sbin, which an ordinary user's PATH may lack
installed_nginx() { PATH=$PATH:/usr/local/sbin:/usr/sbin command -v nginx; }
