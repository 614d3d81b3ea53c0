# What the scripts of this folder share: words for the user, and packages by apt. Sourced, not run.
#
# Whoever sources it has said `set -euo pipefail`, and calls `begin` before anything that makes files.

readonly cache="${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}"
readonly mirror="${WEIR_DEBIAN_MIRROR:-http://deb.debian.org/debian}"
readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
readonly root

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]; }

# ---------------------------------------------------------------------------- packages by apt

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo; then sudo "$@" || { say "'sudo $*' failed: run it by hand, then try again"; return 1; }
    else say "needs root and there is no sudo: run '$*' by hand, then try again"; return 1
    fi
}

# The package lists, once per run: a fresh container has none. Where that isn't allowed the lists that
# are there may do.
lists_asked=
refresh_lists() {
    [ -z "$lists_asked" ] || return 0
    lists_asked=yes
    say "refreshing the package lists"
    as_root apt-get -qq -o DPkg::Lock::Timeout=300 update || say "going on with the lists as they are"
}

install_packages() {
    have apt-get || { say "no apt-get here: install what corresponds to $*"; return 1; }
    refresh_lists
    say "installing $*"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 install "$@" >/dev/null
}

# unpack_packages FOLDER APT_OPTIONS... -- PACKAGE...: unpacks packages without installing them, then
# installs the libraries that they name (libraries start no service).
unpack_packages() {
    local folder=$1 options=() names libraries
    shift
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    rm -rf "$folder"
    mkdir -p "$folder/deb"
    (cd "$folder/deb" && apt-get -qq -o "APT::Sandbox::User=$(id -un)" "${options[@]}" download "$@") || return 1
    local deb
    for deb in "$folder"/deb/*.deb; do
        dpkg-deb -x "$deb" "$folder/root" || return 1
    done
    names=$(for deb in "$folder"/deb/*.deb; do dpkg-deb -f "$deb" Depends; done | tr ',' '\n' |
        sed 's/[(|].*//; s/ //g' | grep '^lib' | sort -u)
    libraries=()
    local name
    for name in $names; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || libraries+=("$name")
    done
    [ ${#libraries[@]} = 0 ] || install_packages "${libraries[@]}"
}

# private_apt LINE: writes an apt configuration whose only source is LINE, reads its lists, and leaves
# the options that select it in the array private_options.
private_apt() {
    local home=$work/apt
    if [ ! -r "$keyring" ]; then
        install_packages debian-archive-keyring || return 1
    fi
    rm -rf "$home"
    mkdir -p "$home/lists/partial" "$home/archives/partial" "$home/no-preferences"
    printf '%s\n' "$1" >"$home/sources.list"
    private_options=(
        -o "Dir::Etc::SourceList=$home/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::Etc::Preferences=/dev/null -o "Dir::Etc::PreferencesParts=$home/no-preferences"
        -o "Dir::State::Lists=$home/lists" -o "Dir::Cache=$home" -o "APT::Sandbox::User=$(id -un)"
    )
    apt-get -qq "${private_options[@]}" update
}

# unpack_source KIND TREE: Debian's source package of today, unpacked into the folder TREE.
unpack_source() {
    local kind=$1 tree=$2 source=$work/source
    have apt-get || return 1
    private_apt "deb-src [signed-by=$keyring] $mirror sid main" || return 1
    rm -rf "$source" "$tree"
    mkdir -p "$source" "$tree"
    (cd "$source" && apt-get -qq "${private_options[@]}" source --download-only "$kind") || return 1
    tar -xf "$source/${kind}"_*.orig.tar.* -C "$tree" --strip-components=1
}

# begin: takes the cache's lock and makes $work, a folder that goes when the script ends. Two clones at
# once would build twice, and one would find the other's half-made folder.
begin() {
    mkdir -p "$cache"
    exec 9>"$cache/lock"
    flock 9
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
}

# candidate PACKAGE APT_OPTIONS...: the version that the sources offer, without epoch and revision.
candidate() {
    local package=$1
    shift
    apt-cache "$@" policy "$package" 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9]*:\)\{0,1\}\([0-9][0-9.]*\).*/\2/p'
}

compiler() {
    have cc && have c++ && have make || install_packages build-essential || die "no C and C++ compiler and make"
}
