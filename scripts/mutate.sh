#!/usr/bin/env bash
# Breaks one rule after the other in a copy of the sources, and runs the simulation against each: all must be noticed.
#
#   scripts/mutate.sh [NAME…]      all mutations, or those whose names contain one of the words
#   scripts/mutate.sh --list
#
# tests/simulation/mutations holds them, one file each: a line on what is broken, then `file: PATH` and a sed script for
# it, once or more. One that changes nothing any more is a failure too: the code has moved on, and so must it.
# Each builds the core once: about a minute. What is noticed is said at once, with what noticed it; a line begins with
# the name of the mutation that is being tried. Ends with 1 when one survives.
# Variables: ARTIMESH_SEEDS (histories against each, 3000), CARGO_TARGET_DIR.
set -uo pipefail
export LC_ALL=C

usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
cd "$(dirname "$0")/.." || exit 1
FOLDER=tests/simulation/mutations
case "${1:-}" in
    -h | --help) usage; exit 0 ;;
    --list) for file in "$FOLDER"/*; do printf '%-40s %s\n' "$(basename "$file")" "$(head -1 "$file")"; done; exit 0 ;;
    -*) echo "unknown option $1: see $0 --help" >&2; exit 2 ;;
esac
WORK=$(mktemp -d "${TMPDIR:-/tmp}/artimesh-mutations.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$WORK/target} ARTIMESH_SEEDS=${ARTIMESH_SEEDS:-3000}
unset ARTIMESH_SEED ARTIMESH_FIRST ARTIMESH_DIGESTS
TREE=$WORK/tree TEST=(cargo test --locked -p artimesh-core --features verify-once --test simulation)

# What is here now, committed or not: whoever goes on working doesn't disturb what runs.
mkdir "$WORK/sound"
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from=- --ignore-failed-read 2>/dev/null |
    tar -xm -C "$WORK/sound"

# A copy of it, with new times, so that cargo notices what is as it was before.
copy() {
    rm -rf "$TREE"
    cp -R "$WORK/sound" "$TREE"
}

# apply FILE: every sed script of a mutation; fails when one changes nothing.
apply() {
    local target="" script="" line
    run_script() {
        [ -n "$script" ] || return 0
        sed -E -i.before "$script" "$TREE/$target" && ! cmp -s "$TREE/$target" "$TREE/$target.before"
    }
    while IFS= read -r line || [ -n "$line" ]; do
        case "$line" in
            "file: "*) run_script || return 1; target=${line#file: } script="" ;;
            *) [ -z "$target" ] || script+=$line$'\n' ;;
        esac
    done <"$1"
    run_script
}

# verdict NAME: what the simulation says of the copy as it is now.
verdict() {
    local log=$WORK/log
    (cd "$TREE" && "${TEST[@]}" --no-run) >"$log" 2>&1 || { echo "doesn't build"; return; }
    # Histories first; what they let pass may be a scenario's business.
    if ! (cd "$TREE" && timeout 1200 "${TEST[@]}" every_history -- --nocapture) >"$log" 2>&1; then
        echo "noticed: $(grep -aE -m1 '^seed [0-9]+: ' "$log" || grep -aE -m1 'of [0-9]+  |panicked' "$log")"
    elif ! (cd "$TREE" && timeout 1200 "${TEST[@]}" scenarios) >"$log" 2>&1; then
        echo "noticed by a scenario: $(grep -aE -m1 '^test .*FAILED' "$log")"
    else
        echo survived
    fi
}

wanted() {
    local word
    [ "${#WORDS[@]}" -gt 0 ] || return 0
    for word in "${WORDS[@]}"; do [[ $1 != *"$word"* ]] || return 0; done
    return 1
}

WORDS=("$@") MISSED=0
copy
printf '%-40s ' "(nothing is broken)"
SOUND=$(verdict)
if [ "$SOUND" = survived ]; then
    echo "nothing is noticed"
else
    echo "$SOUND" | cut -c1-160
    echo "without any mutation the simulation fails already" >&2
    exit 1
fi
for file in "$FOLDER"/*; do
    name=$(basename "$file")
    wanted "$name" || continue
    copy
    printf '%-40s ' "$name"
    if apply "$file"; then outcome=$(verdict); else outcome="changes nothing"; fi
    echo "$outcome" | cut -c1-160
    [[ $outcome == noticed* ]] || MISSED=$((MISSED + 1))
done
echo "$MISSED went unnoticed"
[ "$MISSED" -eq 0 ]
