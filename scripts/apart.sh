#!/usr/bin/env bash
# Three sites with networks and clocks of their own, at length: cut apart and healed while they write, delete and move the
# same paths; clocks up to four minutes apart and jumping; one set back to an hour-old copy of its folder now and then.
#
#   scripts/apart.sh [ROUNDS]     so many rounds (100), about a second each, and the tests of wrong clocks
#
# ARTIMESH_SEED=N repeats a run's choices. Needs root, iproute2, libfaketime (Debian: faketime) and what cargo needs.
set -euo pipefail
export LC_ALL=C
case "${1:-}" in
    -h | --help) sed -n '2,7{s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
esac
cd "$(dirname "$0")/.."
ARTIMESH_ROUNDS=${1:-100} exec cargo test --locked --test system -- apart:: --nocapture --test-threads=1
