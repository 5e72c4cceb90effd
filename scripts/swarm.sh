#!/usr/bin/env bash
# Three sites and an edge as four real processes on this machine: pairs them, moves real bytes through them, kills and
# parts them, and compares what each of them holds. Exits non-zero when anything differs.
#
#   scripts/swarm.sh            build, run, compare, clean up
#   scripts/swarm.sh --keep     leave the four nodes running at the end, and say where
#
# ARTIMESH_BIN=FILE uses that binary instead of building one. Needs bash, coreutils, curl, make and what cargo needs.
set -euo pipefail
export LC_ALL=C
BIN=${ARTIMESH_BIN:-}
# A node takes its settings from such variables and refuses those that it doesn't know.
for variable in "${!ARTIMESH_@}"; do unset "$variable"; done

KEEP=no
case "${1:-}" in
    "") ;;
    --keep) KEEP=yes ;;
    -h | --help) sed -n '2,8{s/^# \{0,1\}//;p;}' "$0"; exit 0 ;;
    *) echo "unknown option $1: see $0 --help" >&2; exit 2 ;;
esac

ROOT=$(cd "$(dirname "$0")/.." && pwd)
SITES=(berlin tokyo austin)
EDGE=lisbon
NODES=("${SITES[@]}" "$EDGE")
REPO=releases
SIZE_MIN=$((200 << 20))
SIZE_MAX=$((256 << 20))
declare -A PID=() URL=() SWARM=() BULK=()
FAILED=0
LEFT_RUNNING=no
BEGUN_US=${EPOCHREALTIME/./}
STEP=0

exec 3>&1

# ---- what it says -----------------------------------------------------------------------------------------------

if [ -t 1 ]; then BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' DIM=$'\e[2m' PLAIN=$'\e[0m'; else BOLD='' GREEN='' RED='' DIM='' PLAIN=''; fi
step() { STEP=$((STEP + 1)); printf '\n%s%2d  %s%s\n' "$BOLD" "$STEP" "$*" "$PLAIN"; }
tick() { printf '    %s✓%s %s\n' "$GREEN" "$PLAIN" "$*"; }
note() { printf '      %s%s%s\n' "$DIM" "$*" "$PLAIN"; }
# On a descriptor of its own: it may be said while a probe's output is thrown away.
wrong() { FAILED=$((FAILED + 1)); printf '    %s✗ %s%s\n' "$RED" "$*" "$PLAIN" >&3; }
die() { wrong "$*"; exit 1; }
same() { if [ "$2" = "$3" ]; then tick "$1"; else wrong "$1: expected '$2', found '$3'"; fi; }

now_us() { local now=$EPOCHREALTIME; echo "${now/./}"; }
# since US: the time that has passed, for people.
since() {
    local us=$(($(now_us) - $1))
    if ((us < 1000000)); then echo "$((us / 1000)) ms"; else printf '%d.%d s\n' $((us / 1000000)) $((us % 1000000 / 100000)); fi
}
# rate BYTES US: bytes a microsecond are megabytes a second.
rate() { echo "$(($1 / ($2 > 0 ? $2 : 1))) MB/s"; }

# ---- the end, however it comes ----------------------------------------------------------------------------------

WORK=
finish() {
    local code=$?
    trap - EXIT INT TERM
    # The end may come while a probe's output is thrown away.
    exec >&3 2>&3
    ((FAILED > 0 && code == 0)) && code=1
    if ((code > 0 && code < 128)) && [ -n "$WORK" ]; then
        printf '\nThe last lines of each log:\n'
        for node in "${NODES[@]}"; do
            [ -f "$WORK/$node.log" ] && { echo "--- $node"; tail -n 15 "$WORK/$node.log"; }
        done
    fi
    if [ "$LEFT_RUNNING" = no ]; then
        local jobs_left
        jobs_left=$(jobs -p)
        # What was started here, by its number: nodes first, then a transfer that may be under way.
        for pid in "${PID[@]}" $jobs_left; do kill "$pid" 2>/dev/null || true; done
        for pid in "${PID[@]}" $jobs_left; do wait "$pid" 2>/dev/null || true; done
        [ -n "$WORK" ] && rm -rf "$WORK"
    fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ---- the nodes --------------------------------------------------------------------------------------------------

artimesh() { "$BIN" "$@"; }
data() { echo "$WORK/$1"; }

# Tries a command every tenth of a second until it succeeds or the deadline (seconds) has passed.
within() {
    local deadline=$(($(now_us) + $1 * 1000000)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        (($(now_us) < deadline)) || die "$what: not within the deadline"
        sleep 0.1
    done
}

serves() {
    kill -0 "${PID[$1]}" 2>/dev/null || die "$1 ended at its start"
    [ -s "$WORK/$1/http.addr" ] && curl -fsS -o "$WORK/ready" "http://$(cat "$WORK/$1/http.addr")/healthz"
}

# Starts a node. The first time it takes any free ports; later it comes back on the same, as a site does.
start() {
    local node=$1
    # A node that was killed couldn't take its address back.
    rm -f "$WORK/$node/http.addr"
    setsid "$BIN" serve --data "$WORK/$node" --http "${URL[$node]:-127.0.0.1:0}" \
        --swarm "${SWARM[$node]:-/ip4/127.0.0.1/tcp/0}" --bulk "${BULK[$node]:-/ip4/127.0.0.1/tcp/0}" \
        </dev/null >>"$WORK/$node.log" 2>&1 3>&- &
    PID[$node]=$!
    within 60 "$node starts" serves "$node"
    URL[$node]=$(cat "$WORK/$node/http.addr")
    local status
    status=$(artimesh status --data "$WORK/$node")
    SWARM[$node]=$(sed -n 's/^swarm  *//p' <<<"$status")
    BULK[$node]=$(sed -n 's/^bulk  *//p' <<<"$status")
}

stop() {
    local node=$1
    kill "${PID[$node]}"
    wait "${PID[$node]}" || die "$node did not stop cleanly"
    unset "PID[$node]"
}

# ask NODE PATH OPTIONS…: curl with the node's token, which never stands in an argument list.
ask() {
    local node=$1 path=$2
    shift 2
    curl -sS -H "@$WORK/$node.header" "$@" "http://${URL[$node]}/artifactory/$path"
}
code() { ask "$1" "$2" -o "$WORK/answer.$1" -w '%{http_code}' "${@:3}" || true; }
answers() { [ "$(code "$1" "$2" -I)" = "$3" ]; }

# json NODE NAME: the values of a name in the node's status; it has one repository, so these stand once.
json() { artimesh status --json --data "$WORK/$1" | sed -n "s/^ *\"$2\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" | sort -u | paste -sd ' '; }
# stored NODE: how many blobs its store holds; the status counts others, too.
stored() { artimesh status --json --data "$WORK/$1" | sed -n '/^  "store": {/,/^  }/s/^    "blobs": \([0-9]*\),\{0,1\}$/\1/p'; }
memory() {
    local node peaks=
    for node in "${NODES[@]}"; do
        peaks+=", $node $(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/${PID[$node]}/status" | (read -r kib && echo $((kib >> 10)))) MiB"
    done
    echo "${peaks#, }"
}
heads_agree() {
    local first
    first=$(json "${NODES[0]}" state_digest)
    [ -n "$first" ] || return 1
    for node in "${NODES[@]:1}"; do [ "$(json "$node" state_digest)" = "$first" ] || return 1; done
}
has_repository() { artimesh repo list --data "$WORK/$1" | grep -q "^ *$REPO "; }
all_connected() {
    local wanted=$1 node
    shift
    for node in "$@"; do [ "$(artimesh status --data "$WORK/$node" | grep -c ' connected ')" -ge "$wanted" ] || return 1; done
}
sha256() { sha256sum "$1" | cut -d ' ' -f 1; }
bytes_stored() { du -sb "$WORK/$1/store" | cut -f 1; }
grown_by() { [ $(($(bytes_stored "$1") - $2)) -ge "$3" ]; }

init() {
    local node=$1
    shift
    artimesh init --data "$WORK/$node" --name "$node" "$@" >"$WORK/$node.init" 2>&1 || die "init of $node: $(cat "$WORK/$node.init")"
    (umask 077 && echo "Authorization: Bearer $(cat "$WORK/$node/admin.token")" >"$WORK/$node.header")
    start "$node"
}

# pair NODE ROLE OPTIONS…: a token made at berlin goes through a pipe into the node.
pair() {
    local node=$1 role=$2 begun
    shift 2
    begun=$(now_us)
    artimesh pair create --role "$role" "$@" --data "$WORK/berlin" 2>"$WORK/pair.note" |
        artimesh pair accept --data "$WORK/$node" >"$WORK/pair.said" || die "$node could not be paired"
    tick "$node: $(sed 's/\([0-9a-f]\{12\}\)[0-9a-f]*/\1…/' "$WORK/pair.said") ($(since "$begun"))"
}

# ---- the binary -------------------------------------------------------------------------------------------------

printf '%sArtimesh: three sites and an edge, as four processes on this machine%s\n' "$BOLD" "$PLAIN"

step "The binary"
begun=$(now_us)
if [ -z "$BIN" ]; then
    # jemalloc is built by it; who has cc by way of build-essential has it.
    if ! type -P make >/dev/null && [ "$(id -u)" -eq 0 ] && type -P apt-get >/dev/null; then
        { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends make; } >&2
    fi
    type -P make >/dev/null || die "make is needed to build it: install it (Debian package: make)"
    # Cargo says where it put the binary; its progress goes to standard error.
    BIN=$(cd "$ROOT" && cargo build --release --locked --bin artimesh --message-format=json-render-diagnostics |
        sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
fi
[ -x "$BIN" ] || die "$BIN is not there"
tick "$(artimesh version | head -n 1), ready after $(since "$begun")"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/artimesh-swarm.XXXXXX")
free_kib=$(df -Pk "$WORK" | tail -n 1 | tr -s ' ' | cut -d ' ' -f 4)
((free_kib > 3 << 20)) || die "3 GiB of free space are needed at $WORK: set TMPDIR to a larger place"

# ---- the circle -------------------------------------------------------------------------------------------------

step "Three sites form a circle of trust"
init berlin --new-circle
tick "berlin founded it, and answers on http://${URL[berlin]}"
for node in tokyo austin; do
    init "$node"
    pair "$node" full
done
within 60 "the sites connect" all_connected 2 "${SITES[@]}"
tick "each site is connected to the two others"

step "One federated repository"
begun=$(now_us)
artimesh repo create "$REPO" --federated --member tokyo --member austin --data "$WORK/berlin" >"$WORK/said"
for node in tokyo austin; do within 60 "the repository at $node" has_repository "$node"; done
tick "$REPO, made at berlin, stands at all three sites ($(since "$begun"))"

step "An edge, for that repository only"
init "$EDGE"
begun=$(now_us)
pair "$EDGE" edge --for "$REPO"
within 60 "the repository at $EDGE" has_repository "$EDGE"
tick "$EDGE shows $REPO ($(since "$begun"))"

# ---- bytes ------------------------------------------------------------------------------------------------------

step "A large file, put at berlin, read at the three others at once"
big=$WORK/big.tar
# The head of an archive of this machine's Rust toolchain: real bytes, partly compressible, of a known size.
(tar -cf - -C "$(rustc --print sysroot)" lib 2>/dev/null || true) | head -c "$SIZE_MAX" >"$big" || true
what="an archive of the Rust toolchain"
if [ "$(stat -c %s "$big")" -lt "$SIZE_MIN" ]; then
    head -c "$SIZE_MAX" /dev/urandom >"$big"
    what="random bytes"
fi
size=$(stat -c %s "$big")
sum=$(sha256 "$big")
note "$what: $((size >> 20)) MiB, SHA-256 ${sum:0:16}…"
path=$REPO/toolchain/lib.tar
begun=$(now_us)
same "berlin took it: 201" 201 "$(code berlin "$path" -T "$big" -H "X-Checksum-Sha256: $sum")"
note "$(rate "$size" $(($(now_us) - begun))), durable, with four checksums computed on the way ($(since "$begun"))"
for node in tokyo austin "$EDGE"; do within 60 "the path at $node" answers "$node" "$path" 200; done
tick "the path is visible everywhere ($(since "$begun") after the upload began)"
same "$EDGE holds none of its bytes yet" 0 "$(stored "$EDGE")"
begun=$(now_us)
declare -A FETCH=()
for node in tokyo austin "$EDGE"; do
    (
        from=$(now_us)
        curl -fsS -H "@$WORK/$node.header" -o "$WORK/fetched.$node" "http://${URL[$node]}/artifactory/$path"
        echo $(($(now_us) - from)) >"$WORK/us.$node"
    ) &
    FETCH[$node]=$!
done
for node in tokyo austin "$EDGE"; do
    wait "${FETCH[$node]}" || { wrong "$node did not give the file"; continue; }
    same "$node gave the same bytes ($(rate "$size" "$(cat "$WORK/us.$node")"))" "$sum" "$(sha256 "$WORK/fetched.$node")"
    rm -f "$WORK/fetched.$node"
done
ask berlin "$path" -o "$WORK/fetched.berlin"
same "berlin gives them too" "$sum" "$(sha256 "$WORK/fetched.berlin")"
rm -f "$WORK/fetched.berlin"
begun=$(now_us)
ask "$EDGE" "$path" -o "$WORK/fetched.$EDGE"
read_us=$(($(now_us) - begun))
same "$EDGE gives them a second time from its own disk ($(rate "$size" "$read_us"))" "$sum" "$(sha256 "$WORK/fetched.$EDGE")"
rm -f "$WORK/fetched.$EDGE"
note "peak memory so far: $(memory)"

step "A wrong checksum is refused"
echo "not what was announced" >"$WORK/small"
same "409, and nothing is stored" 409 "$(code berlin "$REPO/wrong.txt" -T "$WORK/small" -H "X-Checksum-Sha256: $sum")"
same "404 at its path" 404 "$(code berlin "$REPO/wrong.txt" -I)"

# ---- a crash ----------------------------------------------------------------------------------------------------

step "austin is killed (kill -9) in the middle of an upload"
for number in $(seq 1 20); do
    echo "acknowledged $number, $RANDOM$RANDOM" >"$WORK/ack.$number"
    answer=$(code austin "$REPO/ack/$number.txt" -T "$WORK/ack.$number")
    [ "$answer" = 201 ] || wrong "upload $number: $answer"
done
tick "20 small artifacts acknowledged"
head -c $((96 << 20)) /dev/urandom >"$WORK/half.bin"
before=$(bytes_stored austin)
ask austin "$REPO/half.bin" -T "$WORK/half.bin" --limit-rate 24M -o "$WORK/answer.half" 2>"$WORK/half.err" &
upload=$!
within 30 "half an upload at austin" grown_by austin "$before" $((32 << 20))
kill -9 "${PID[austin]}"
wait "${PID[austin]}" 2>/dev/null || true
arrived=$(($(bytes_stored austin) - before))
if wait "$upload"; then wrong "curl believes that the upload succeeded"; else tick "killed when $((arrived >> 20)) of 96 MiB had arrived; curl failed, as it must"; fi
begun=$(now_us)
start austin
tick "austin is back ($(since "$begun"))"
lost=0
for number in $(seq 1 20); do
    ask austin "$REPO/ack/$number.txt" -o "$WORK/answer.ack" && cmp -s "$WORK/ack.$number" "$WORK/answer.ack" || lost=$((lost + 1))
done
same "lost of the 20 acknowledged artifacts: none" 0 "$lost"
for node in "${NODES[@]}"; do same "$node knows nothing of the aborted upload" 404 "$(code "$node" "$REPO/half.bin" -I)"; done
left=$(($(bytes_stored austin) - before))
if ((left < 8 << 20)); then tick "its bytes are gone from austin's disk"; else wrong "$((left >> 20)) MiB of it are left on austin's disk"; fi
within 90 "the small artifacts at berlin" answers berlin "$REPO/ack/20.txt" 200
tick "what austin had acknowledged reached berlin"

# ---- a partition ------------------------------------------------------------------------------------------------

step "berlin and tokyo write one path while they are apart"
stop tokyo
echo "written at berlin" >"$WORK/by.berlin"
same "tokyo is down; berlin writes: 201" 201 "$(code berlin "$REPO/motd.txt" -T "$WORK/by.berlin")"
for node in berlin austin "$EDGE"; do stop "$node"; done
start tokyo
same "tokyo had not heard of it" 404 "$(code tokyo "$REPO/motd.txt" -I)"
echo "written at tokyo" >"$WORK/by.tokyo"
same "tokyo, alone in the world, writes: 201" 201 "$(code tokyo "$REPO/motd.txt" -T "$WORK/by.tokyo")"
begun=$(now_us)
for node in berlin austin "$EDGE"; do start "$node"; done
within 120 "all four agree" heads_agree
tick "all are up again, and all four have the same state digest $(json berlin state_digest | cut -c 1-16)… ($(since "$begun"))"
winner=$(ask berlin "$REPO/motd.txt")
note "the winner: “$winner”"
for node in "${NODES[@]}"; do
    same "$node shows the winner, and reports 1 sibling" "$winner / 1" "$(ask "$node" "$REPO/motd.txt") / $(json "$node" siblings)"
done

step "A delete at austin"
begun=$(now_us)
same "austin deletes: 204" 204 "$(code austin "$path" -X DELETE)"
for node in "${NODES[@]}"; do
    within 90 "the delete at $node" answers "$node" "$path" 404
    tick "404 at $node ($(since "$begun"))"
done

step "The edge takes no writes"
same "PUT: 403" 403 "$(code "$EDGE" "$REPO/x.txt" -T "$WORK/small")"
note "$(tr -s ' \n' ' ' <"$WORK/answer.$EDGE")"
same "DELETE: 403" 403 "$(code "$EDGE" "$REPO/motd.txt" -X DELETE)"

step "The end state"
within 90 "all four agree" heads_agree
tick "state digest $(json berlin state_digest | cut -c 1-16)… at all four"
for node in "${NODES[@]}"; do
    note "$node: $(json "$node" artifacts) artifacts, $(stored "$node") blobs"
done
rm -f "$big" "$WORK/half.bin"

# ---- the verdict ------------------------------------------------------------------------------------------------

if ((FAILED > 0)); then
    printf '\n%s%s thing(s) differed%s after %s\n' "$RED" "$FAILED" "$PLAIN" "$(since "$BEGUN_US")"
    exit 1
fi
printf '\n%sEverything is as it should be%s (%s)\n' "$GREEN" "$PLAIN" "$(since "$BEGUN_US")"
if [ "$KEEP" = yes ]; then
    LEFT_RUNNING=yes
    printf '\nThe swarm runs on:\n'
    for node in "${NODES[@]}"; do
        printf '  %-7s http://%-21s  token file %s\n' "$node" "${URL[$node]}" "$WORK/$node/admin.token"
    done
    printf 'Try   %s status --data %s\n' "$BIN" "$WORK/berlin"
    printf 'Stop  kill %s && rm -rf %s\n' "${PID[*]}" "$WORK"
fi
