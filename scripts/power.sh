#!/usr/bin/env bash
# Power failures at length: a node on a disk of its own (ext4 on a loop device whose writes and flushes the test sees), cut off
# in the midst of uploads, with any part of what wasn't flushed lost, torn at 512 bytes or out of order.
#
#   scripts/power.sh [ROUNDS]     the power fails so many times (50), about four seconds each
#
# ARTIMESH_SEED=N repeats a run's choices. Needs root, loop devices, /dev/fuse, mount, losetup, mkfs.ext4 (Debian: mount,
# e2fsprogs) and what cargo needs. What needs none of these: POWER_STATES=N POWER_FIRST=N cargo test --lib power:: -- --nocapture
# looks at N crash states of the store over a simulated disk, from another seed on.
set -euo pipefail
export LC_ALL=C
case "${1:-}" in
    -h | --help) sed -n '2,9{s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
esac
cd "$(dirname "$0")/.."
POWER_ROUNDS=${1:-50} exec cargo test --locked --test system -- power:: --nocapture --test-threads=1
