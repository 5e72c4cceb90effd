#!/usr/bin/env bash
# The previous release beside this one: builds its binary from git, lets it write data folders that this one upgrades in
# place, and runs the two in one circle, where they refuse each other and say why.
#
#   scripts/compat.sh                build it, try
#   scripts/compat.sh --fixture      also write tests/golden/folders/protocol-1.tar.gz anew, if it was removed
#
# ARTIMESH_PREVIOUS_BINARY=FILE uses that binary instead. Needs what cargo needs, git and tar.
set -euo pipefail
export LC_ALL=C
# The last commit that speaks protocol 1.
PREVIOUS=017e5e2c0b2e726e08dcf8bf051636a99c679fa0
case "${1:-}" in
    "") ;;
    --fixture) export ARTIMESH_GOLDEN=write ;;
    -h | --help) sed -n '2,8{s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
    *) echo "unknown option $1: see $0 --help" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."

SOURCES=
finish() { [ -z "$SOURCES" ] || { git worktree remove --force "$SOURCES"; }; }
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -z "${ARTIMESH_PREVIOUS_BINARY:-}" ]; then
    mkdir -p "${CARGO_TARGET_DIR:-target}/previous"
    BUILT=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
    TARGET=$BUILT/previous
    git cat-file -e "$PREVIOUS^{commit}" 2>/dev/null ||
        { echo "the previous release's commit $PREVIOUS is not in this clone: git fetch --unshallow" >&2; exit 1; }
    # A run that was killed may have left them.
    rm -rf "$TARGET/sources"
    git worktree add --force --detach "$TARGET/sources" "$PREVIOUS" >/dev/null
    SOURCES=$TARGET/sources
    if [ -d "$BUILT/debug/deps" ] && [ ! -d "$TARGET/debug" ]; then
        # What both releases depend on is the same, and built already. Not our own crates: cargo tells them from each
        # other by their names alone, so the two must never share a folder.
        mkdir "$TARGET/debug"
        cp -al "$BUILT"/debug/{deps,build,.fingerprint} "$TARGET/debug/"
        rm -rf "$TARGET"/debug/{deps,build,.fingerprint}/*artimesh*
    fi
    (cd "$SOURCES" && CARGO_TARGET_DIR=$TARGET cargo build --locked --bin artimesh)
    export ARTIMESH_PREVIOUS_BINARY=$TARGET/debug/artimesh
fi
cargo test --locked --no-fail-fast --test system -- upgrade:: --nocapture
