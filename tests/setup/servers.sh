#!/usr/bin/env bash
#
# Gets what this repository needs from the machine that it is cloned to, and nothing that is there already:
#
#   servers.sh build-deps   a C and a C++ compiler, make, and libclang (for bindgen), by apt
#   servers.sh servers      one Valkey and one Redis, 7.2 or newer: server, cli and benchmark; and openssl
#   servers.sh suite        Redis's own tests, and tclsh, which they are written for
#   servers.sh bench        nutcracker (twemproxy), which `make bench` compares with
#   servers.sh network      ip, with which `make faults` cuts servers off
#   servers.sh sanitized    both servers with AddressSanitizer, built from source, for `make sanitize`
#
# The programs end up as links, always in the same place, which is where `lab` looks for them:
#
#   .servers/valkey/{valkey-server,valkey-cli,valkey-benchmark}
#   .servers/redis/{redis-server,redis-cli,redis-benchmark}
#   .servers/suite/tests
#   .servers/sanitized/{valkey-server,redis-server}, and what is beside them
#   .servers/nutcracker/nutcracker
#
# A server is taken from the first of these that has one:
#
#   1. the path, or the server that WEIR_VALKEY_SERVER / WEIR_REDIS_SERVER names
#   2. the cache, $WEIR_CACHE or ~/.cache/weir: so a second clone downloads and builds nothing
#   3. the machine's own package sources; the package is unpacked into the cache, not installed,
#      because installing one starts a service that takes port 6379
#   4. on Debian, the backports of the same release, unpacked likewise
#   5. Debian's source package of today, built in the cache
#
# 4 and 5 use an apt configuration of their own, so the machine's package sources stay as they are.
# What can't be had is named, and the exit code is 1.
set -euo pipefail

readonly oldest=7.2
readonly oldest_rust=1.85
# Debian puts nutcracker where only root's path looks.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# ---------------------------------------------------------------------------- build-deps

# bindgen loads libclang when it runs, and needs the compiler's own headers beside it.
have_libclang() {
    [ -z "${LIBCLANG_PATH:-}" ] || return 0
    have clang && return 0
    local library headers
    library=$(compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' || compgen -G '/usr/lib*/libclang*.so*') || return 1
    headers=$(compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' ||
        compgen -G '/usr/lib*/clang/*/include/stddef.h') || return 1
    [ -n "$library" ] && [ -n "$headers" ]
}

check_rust() {
    have cargo || die "no cargo: install Rust $oldest_rust or newer (https://rustup.rs), then try again"
    local version
    version=$(rustc --version | cut -d' ' -f2)
    at_least "$version" "$oldest_rust" || die "rustc is $version, and $oldest_rust is needed"
    local tool
    for tool in fmt clippy; do
        cargo "$tool" --version >/dev/null 2>&1 && continue
        if have rustup; then rustup component add "${tool/fmt/rustfmt}"
        elif [ "$tool" = fmt ]; then install_packages rustfmt
        else install_packages rust-clippy
        fi || die "no 'cargo $tool'"
    done
}

build_deps() {
    compiler
    have_libclang || install_packages libclang-dev || die "no libclang"
    check_rust
}

# ---------------------------------------------------------------------------- servers

# version_of PROGRAM: "8.0.6", or nothing if it doesn't even start (a library has gone, for example).
version_of() { "$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p'; }

# good_server PROGRAM: it starts, and is new enough.
good_server() {
    local version
    [ -x "$1" ] || return 1
    version=$(version_of "$1") || return 1
    [ -n "$version" ] && at_least "$version" "$oldest"
}

# link_server KIND FOLDER: points .servers/KIND at the programs in FOLDER.
link_server() {
    local kind=$1 folder=$2 program
    mkdir -p "$root/.servers/$kind"
    for program in server cli benchmark; do
        program=$kind-$program
        if [ ! -x "$folder/$program" ]; then
            say "$folder has a $kind-server but no $program"
            return 1
        fi
        ln -sfn "$folder/$program" "$root/.servers/$kind/$program"
    done
    say "$kind $(version_of "$folder/$kind-server") from $folder"
}

# keep KIND FOLDER: moves freshly made programs into the cache, all at once. They are copied as files:
# in a package the server itself is a link.
keep() {
    local kind=$1 folder=$2 fresh=$work/keep program
    rm -rf "$fresh"
    mkdir -p "$fresh"
    for program in server cli benchmark; do
        cp -L "$folder/$kind-$program" "$fresh/" || return 1
    done
    good_server "$fresh/$kind-server" || { say "the $kind-server just made does not run"; return 1; }
    rm -rf "${cache:?}/$kind"
    mv "$fresh" "$cache/$kind"
}

# The five ways, in the order of the list at the top. Each fails quietly when it has nothing to offer.

given() {
    local kind=$1 variable program
    variable=WEIR_${kind^^}_SERVER
    program=${!variable:-$(command -v "$kind-server" || true)}
    [ -n "$program" ] || return 1
    if ! good_server "$program"; then
        say "$program is not taken: $oldest or newer is needed, and it is '$(version_of "$program")'"
        return 1
    fi
    link_server "$kind" "$(dirname "$program")"
}

cached() {
    good_server "$cache/$1/$1-server" && link_server "$1" "$cache/$1"
}

packaged() {
    local kind=$1 version
    have apt-get || return 1
    refresh_lists
    version=$(candidate "$kind-server")
    [ -n "$version" ] && at_least "$version" "$oldest" || return 1
    say "unpacking this machine's package $kind-server $version"
    unpack_packages "$work/$kind" -- "$kind-server" "$kind-tools" &&
        keep "$kind" "$work/$kind/root/usr/bin" && link_server "$kind" "$cache/$kind"
}

backported() {
    local kind=$1 id codename version
    [ -r /etc/os-release ] || return 1
    id=$(. /etc/os-release && echo "${ID:-}")
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    have apt-get && [ "$id" = debian ] && [ -n "$codename" ] || return 1
    private_apt "deb [signed-by=$keyring] $mirror $codename-backports main" || return 1
    version=$(candidate "$kind-server" "${private_options[@]}")
    [ -n "$version" ] && at_least "$version" "$oldest" || return 1
    say "unpacking $kind-server $version from $codename-backports"
    unpack_packages "$work/$kind" "${private_options[@]}" -- "$kind-server" "$kind-tools" &&
        keep "$kind" "$work/$kind/root/usr/bin" && link_server "$kind" "$cache/$kind"
}

from_source() {
    local kind=$1 tree=$work/tree tls=no
    compiler
    say "building $kind from Debian's source package (about two minutes)"
    unpack_source "$kind" "$tree" || return 1
    [ -r /usr/include/openssl/ssl.h ] || install_packages libssl-dev || say "$kind will speak no TLS"
    [ ! -r /usr/include/openssl/ssl.h ] || tls=yes
    if ! make -C "$tree" -j"$(nproc)" BUILD_TLS=$tls >"$work/make.log" 2>&1; then
        tail -n 40 "$work/make.log" >&2
        return 1
    fi
    keep "$kind" "$tree/src" && link_server "$kind" "$cache/$kind"
}

servers() {
    have openssl || install_packages openssl || die "no openssl, with which the tests speak TLS"
    # A clone that was set up before is left alone, without a look at the network.
    local kind
    for kind in valkey redis; do
        good_server "$root/.servers/$kind/$kind-server" && [ -x "$root/.servers/$kind/$kind-cli" ] && continue
        given $kind || cached $kind || packaged $kind || backported $kind || from_source $kind ||
            die "no $kind-server $oldest or newer could be had; install one, or name it in WEIR_${kind^^}_SERVER"
    done
}

# ---------------------------------------------------------------------------- suite

# The tests' folder alone, of the tree that WEIR_SUITE names or of the source package. They are not this
# repository's: they stay in the cache, and `make conformance` works on copies.
suite() {
    have tclsh || install_packages tcl || die "no tclsh"
    local folder=${WEIR_SUITE:-$cache/suite} marker=tests/test_helper.tcl
    if [ ! -r "$folder/$marker" ]; then
        [ -z "${WEIR_SUITE:-}" ] || die "WEIR_SUITE names $folder, and there is no $marker"
        say "unpacking the tests of Debian's source package of Redis"
        unpack_source redis "$work/tree" || die "the source package could not be had; name a tree in WEIR_SUITE"
        [ -r "$work/tree/$marker" ] || die "the source package has no $marker"
        rm -rf "$folder"
        mkdir -p "$work/suite"
        mv "$work/tree/tests" "$work/suite/"
        mv "$work/suite" "$folder"
    fi
    mkdir -p "$root/.servers"
    ln -sfn "$folder" "$root/.servers/suite"
}

# ---------------------------------------------------------------------------- bench

bench() {
    servers
    local program
    program=$(command -v nutcracker) || {
        # The package's service listens on ports that nobody here uses, but unpacking starts none at all.
        have apt-get || die "no nutcracker, and no apt-get to get it with"
        refresh_lists
        unpack_packages "$work/nutcracker" -- nutcracker || die "the package nutcracker could not be had"
        rm -rf "${cache:?}/nutcracker"
        mkdir -p "$cache/nutcracker"
        cp -L "$work/nutcracker/root/usr/sbin/nutcracker" "$cache/nutcracker/"
        program=$cache/nutcracker/nutcracker
    }
    mkdir -p "$root/.servers/nutcracker"
    ln -sfn "$program" "$root/.servers/nutcracker/nutcracker"
    "$program" --version >/dev/null 2>&1 || die "$program does not run"
}

# ---------------------------------------------------------------------------- network

# Without it there are no partitions, and all else is as it is: so its absence is no failure.
network() {
    have ip || install_packages iproute2 || say "no ip: there will be no partitions"
    have unshare || say "no unshare: there will be no partitions"
}

# ---------------------------------------------------------------------------- sanitized

# Of today's source packages: no package has them.
sanitized() {
    local kind folder=$cache/sanitized tree=$work/tree
    mkdir -p "$folder"
    for kind in valkey redis; do
        good_server "$folder/$kind-server" && continue
        compiler
        say "building $kind with AddressSanitizer from Debian's source package (about three minutes)"
        unpack_source $kind "$tree" || die "the source package of $kind could not be had"
        [ -r /usr/include/openssl/ssl.h ] || install_packages libssl-dev || die "no libssl-dev"
        if ! make -C "$tree" -j"$(nproc)" SANITIZER=address MALLOC=libc BUILD_TLS=yes >"$work/make.log" 2>&1; then
            tail -n 40 "$work/make.log" >&2
            die "$kind could not be built with AddressSanitizer"
        fi
        cp -L "$tree/src/$kind-server" "$tree/src/$kind-cli" "$folder/"
        good_server "$folder/$kind-server" || die "the $kind-server just made does not run"
    done
    mkdir -p "$root/.servers"
    ln -sfn "$folder" "$root/.servers/sanitized"
}

# ----------------------------------------------------------------------------

[ $# -gt 0 ] || die "usage: servers.sh build-deps|servers|suite|bench|network|sanitized ..."
begin
for step in "$@"; do
    case $step in
        build-deps) build_deps ;;
        servers) servers ;;
        suite) suite ;;
        bench) bench ;;
        network) network ;;
        sanitized) sanitized ;;
        *) die "no such step: $step" ;;
    esac
done
