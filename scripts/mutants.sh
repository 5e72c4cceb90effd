#!/usr/bin/env bash
# Breaks the core in a hundred small ways, one at a time, and counts how many of them its tests notice.
#
#   scripts/mutants.sh [COUNT] [DRAW]    COUNT mutants (100) of the rooms clock, trust, catalog, changelog and replica
#   scripts/mutants.sh --list [COUNT] [DRAW]    which ones
#
# All mutants that cargo-mutants can think of stand in one list; draw DRAW (0) takes every n-th from the DRAW-th on, so
# that files weigh as much as there is to break in them, and the same draw of the same sources is the same. Each is
# built in a copy, and meets the core's unit tests, laws, scenarios and ARTIMESH_SEEDS (300) histories. Exits non-zero
# when fewer than nine of ten are killed. Those that live on because they change nothing are explained in
# tests/simulation/survivors.md.
#
# A quarter of a minute each. Needs cargo-mutants (`cargo install cargo-mutants --locked`). What was found stays in
# mutants.out in the folder OUTPUT (tmp).
set -euo pipefail
export LC_ALL=C
LIST=no
case "${1:-}" in
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    --list) LIST=yes; shift ;;
    -*) echo "unknown option $1: see $0 --help" >&2; exit 2 ;;
esac
COUNT=${1:-100}
DRAW=${2:-0}
cd "$(dirname "$0")/.."
cargo mutants --version >/dev/null || { echo "missing: cargo install cargo-mutants --locked" >&2; exit 1; }
# Each copy has a target folder of its own: a shared one would be built anew for every mutant.
unset CARGO_TARGET_DIR
# Built quickly rather than well: the build takes most of the time.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=false
QUICKLY=--cargo-arg=--config=profile.dev.package.artimesh-core.opt-level=1
export ARTIMESH_SEEDS=${ARTIMESH_SEEDS:-300}

SCOPE=(--package artimesh-core --features verify-once)
for room in clock trust catalog changelog replica; do SCOPE+=(--file "src/core/$room/**"); done

ALL=$(cargo mutants --list "${SCOPE[@]}" | wc -l)
SHARDS=$((ALL / COUNT > 0 ? ALL / COUNT : 1))
SCOPE+=(--shard "$((DRAW % SHARDS))/$SHARDS" --sharding round-robin)
if [ "$LIST" = yes ]; then exec cargo mutants --list "${SCOPE[@]}"; fi
printf '%s mutants in all; draw %s of %s\n' "$ALL" "$((DRAW % SHARDS))" "$SHARDS"

OUTPUT=${OUTPUT:-tmp}
mkdir -p "$OUTPUT"
# It answers 2 when some survive and 3 when some ran into the timeout; both are counted below.
cargo mutants "${SCOPE[@]}" "$QUICKLY" --output "$OUTPUT" --build-timeout 600 --timeout 120 --no-times --colors never || [ $? -le 3 ]

count() { wc -l <"$OUTPUT/mutants.out/$1.txt"; }
KILLED=$(($(count caught) + $(count timeout)))
SURVIVED=$(count missed)
printf '\nkilled    %d (%d of them never ended)\nsurvived  %d\nno program %d\n' \
    "$KILLED" "$(count timeout)" "$SURVIVED" "$(count unviable)"
sed 's/^/    /' "$OUTPUT/mutants.out/missed.txt"
((KILLED + SURVIVED > 0)) || { echo "nothing was tried" >&2; exit 1; }
printf '%d %% killed; 90 %% are asked for\n' $((100 * KILLED / (KILLED + SURVIVED)))
((10 * KILLED >= 9 * (KILLED + SURVIVED)))
