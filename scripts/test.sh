#!/usr/bin/env bash
# All tests, stage by stage, with the minutes that each took.
#
#   scripts/test.sh          what every change has to pass: well under an hour on two cores
#   scripts/test.sh --long   more histories, the previous release beside this one, and the system tests at length in release
#                            mode: two hours in all
#
# Needs a Rust toolchain with rustfmt and clippy, cc, make, git, curl, wget, kill, tar, GNU coreutils, python3 with its venv module,
# and its package index. Root on Debian: installs what is missing. Variables: ARTIMESH_SEEDS (simulated histories), LONG_SEEDS
# (those of the long tier, 200000; what tests/simulation/digests.txt knows of them has to end the same), CARGO_TARGET_DIR.
set -uo pipefail
export LC_ALL=C

LONG=no
case "${1:-}" in
    "") ;;
    --long) LONG=yes ;;
    -h | --help) sed -n '2,10{s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
    *) echo "unknown option $1: see $0 --help" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.." || exit 1
# Nothing is built twice here: what incremental builds would keep is only disk space.
export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
export RUST_BACKTRACE=${RUST_BACKTRACE:-1}
SEEDS=${ARTIMESH_SEEDS:-5000}
LONG_SEEDS=${LONG_SEEDS:-200000}

RESULTS=$(mktemp "${TMPDIR:-/tmp}/artimesh-tests.XXXXXX")
trap 'rm -f "$RESULTS" "$RESULTS".*' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
BROKEN=()

# stage NAME COMMAND…: runs it, keeps what cargo says of its tests, and goes on after a failure: one run tells all.
stage() {
    local name=$1 begun=$SECONDS code
    shift
    printf '\n=== %s\n' "$name"
    "$@" 2>&1 | tee "$RESULTS.stage"
    code=${PIPESTATUS[0]}
    local took=$((SECONDS - begun))
    local verdict=passed
    [ "$code" -eq 0 ] || { verdict=FAILED; BROKEN+=("$name"); }
    printf '=== %s %s after %d.%d min\n' "$name" "$verdict" $((took / 60)) $((took % 60 / 6))
    grep -a '^test result: ' "$RESULTS.stage" | sed "s|^|$name: |" >>"$RESULTS"
    return "$code"
}

# missing COMMAND:PACKAGE…: the Debian packages of the commands that are missing. Programs only: the shell's own kill is of
# no use to a test.
missing() {
    local pair
    for pair in "$@"; do
        [ -n "$(type -P "${pair%%:*}")" ] || echo "${pair##*:}"
    done
}

tools() {
    local needed=(cc:build-essential make:make git:git curl:curl kill:procps tar:tar setsid:util-linux sha256sum:coreutils
        python3:python3 wget:wget)
    # For tests that cut a network, set a clock, fill a small disk or cut the power of one, or run Maven; they say so and
    # pass where that can't be had.
    local wanted=(nft:nftables ip:iproute2 mount:mount faketime:faketime losetup:mount mkfs.ext4:e2fsprogs
        mvn:maven)
    # Without the internet, Maven's plugins come from Debian, too; the first of them asks for JUnit and doesn't say so.
    local plugins=(libmaven-dependency-plugin-java libmaven-deploy-plugin-java libmaven-jar-plugin-java junit4)
    local packages
    if [ "$(id -u)" -eq 0 ] && type -P apt-get >/dev/null; then
        packages=$(missing "${needed[@]}" "${wanted[@]}" | sort -u)
        dpkg --status "${plugins[@]}" >/dev/null 2>&1 || packages="$packages ${plugins[*]}"
        # The module that Debian packs apart from its Python.
        python3 -c 'import ensurepip' 2>/dev/null || packages="$packages python3-venv"
        if [ -n "$packages" ]; then
            # shellcheck disable=SC2086 # one word for each package
            apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages
        fi
    fi
    packages=$(missing "${needed[@]}")
    if [ -n "$packages" ]; then
        echo "missing, by Debian package: $(tr '\n' ' ' <<<"$packages")" >&2
        return 1
    fi
    packages=$(missing "${wanted[@]}")
    [ -z "$packages" ] || echo "some tests try less without, by Debian package: $(tr '\n' ' ' <<<"$packages")"
    scripts/clients.sh "${CARGO_TARGET_DIR:-target}/tmp/clients" || return
    cargo --version && cargo fmt --version && cargo clippy --version ||
        { echo "missing: a Rust toolchain with rustfmt and clippy (rustup component add rustfmt clippy)" >&2; return 1; }
}

simulation() { ARTIMESH_SEEDS=$SEEDS cargo test --locked -p artimesh-core --test simulation -- --nocapture; }

simulation_long() { scripts/simulate.sh "$LONG_SEEDS"; }

system_long() { ARTIMESH_LONG=1 cargo test --locked --release --no-fail-fast --test system -- --test-threads=1; }

# sum WORD: the total of the numbers that stand before it in cargo's results.
sum() { echo $((0 $(sed -n "s/.* \([0-9]*\) $1;.*/+ \1/p" "$RESULTS"))); }

report() {
    local name
    printf '\n=== results after %d min\n' $((SECONDS / 60))
    cat "$RESULTS"
    for name in "${BROKEN[@]}"; do echo "failed stage: $name"; done
    printf '%d passed, %d failed\n' "$(sum passed)" "$(sum failed)"
    [ "${#BROKEN[@]}" -eq 0 ]
}

stages() {
    stage "tools" tools || return
    stage "format" cargo fmt --all --check -- --config-path config/rustfmt.toml
    stage "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
    stage "build of the tests" cargo test --locked --workspace --no-run || return
    stage "unit tests" cargo test --locked --workspace --no-fail-fast --lib --bins
    stage "simulation of $SEEDS histories" simulation
    stage "architecture" cargo test --locked --test architecture
    stage "system tests" cargo test --locked --no-fail-fast --test system
    stage "a swarm in release mode" scripts/swarm.sh
    [ "$LONG" = yes ] || return
    stage "simulation of $LONG_SEEDS histories" simulation_long
    stage "beside the previous release" scripts/compat.sh
    stage "system tests at length" system_long
}

# On one line, so that bash has read all of this file before it begins: it may be edited meanwhile.
stages; report; exit
