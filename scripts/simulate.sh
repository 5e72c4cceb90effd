#!/usr/bin/env bash
# Any number of simulated histories on all cores.
#
#   scripts/simulate.sh N [--from SEED] [--write]
#
# Says how many a second, what happened in them, and which failed. A thousand seeds end in a chained digest of the final
# states of all sites; tests/simulation/digests.txt holds those of earlier runs, and what is run again must end the same.
#   --from SEED   the first seed (0)
#   --write       keep the digests of this run; those of other sources are dropped
# To replay one: ARTIMESH_SEED=n cargo test -p artimesh-core --test simulation every_history -- --nocapture
# Variables: CARGO_TARGET_DIR.
set -euo pipefail
export LC_ALL=C

usage() { sed -n '2,12{s/^# \{0,1\}//;p;}' "$0"; }
COUNT="" FROM=0 WRITE=""
while [ $# -gt 0 ]; do
    case "$1" in
        --from) FROM=${2:?"--from needs a seed"}; shift ;;
        --write) WRITE=1 ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "unknown option $1: see $0 --help" >&2; exit 2 ;;
        *) COUNT=$1 ;;
    esac
    shift
done
[[ $COUNT =~ ^[0-9]+$ && $FROM =~ ^[0-9]+$ ]] || { usage >&2; exit 2; }
cd "$(dirname "$0")/.."

# What decides how a history ends: the core, the simulator (with what it checks: a history goes on until all agree), and the
# crates that they are built with. Not what is told by hand, nor which seeds are run, nor what the rest of the node is built with.
sources() {
    local others=(-path tests/simulation/scenarios -o -path tests/simulation/seeds.rs)
    {
        find src/core tests/simulation \( "${others[@]}" \) -prune -o -name '*.rs' -print | sort | xargs sha256sum
        cargo tree --locked -p artimesh-core --edges normal,build,dev --prefix none | sed 's/ (.*//' | sort -u
    } | sha256sum | cut -c1-16
}
export ARTIMESH_SEEDS=$COUNT ARTIMESH_FIRST=$FROM ARTIMESH_DIGESTS=$PWD/tests/simulation/digests.txt
ARTIMESH_RULES="sources $(sources)"
export ARTIMESH_RULES
[ -z "$WRITE" ] || export ARTIMESH_DIGESTS_WRITE=1
unset ARTIMESH_SEED
exec cargo test --locked --profile simulation -p artimesh-core --features verify-once --test simulation every_history -- --nocapture
