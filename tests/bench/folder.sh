#!/usr/bin/env bash
# A folder of small files goes up: `artifact put`, beside curl and rclone on the same disk.
#
#   tests/bench/folder.sh BINARY [FILES]    10,000 files of 4 KiB unless told otherwise; needs curl, rclone is tried if it is there
#
# curl puts them to the same node over 50 connections; `rclone copy` to its own `rclone serve webdav`, which makes nothing durable.
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,6{s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }
binary=$(realpath "$1") files=${2:-10000}
work=$(mktemp -d "${TMPDIR:-/tmp}/artimesh-folder.XXXXXX")
started=()
trap 'for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT
cd "$work"
export NO_PROXY='*' no_proxy='*'

mkdir tree dav
for ((folder = 0; folder * 100 < files; folder++)); do
    mkdir "tree/$folder"
    head -c 409600 /dev/urandom | split -b 4096 -a 3 - "tree/$folder/file-"
done

"$binary" init --data node --name bench --new-circle >/dev/null
"$binary" serve --data node --http 127.0.0.1:0 --swarm /ip4/127.0.0.1/tcp/0 --bulk /ip4/127.0.0.1/tcp/0 >serve.log 2>&1 &
started+=($!)
until [ -s node/http.addr ]; do sleep 0.1; done
"$binary" repo create libs --data node >/dev/null
url=http://$(cat node/http.addr)/artifactory/libs

# timed NAME COMMAND…
timed() {
    local name=$1 begun=$EPOCHREALTIME
    shift
    "$@"
    awk -v name="$name" -v from="$begun" -v to="$EPOCHREALTIME" 'BEGIN { printf "%-40s %7.2f s\n", name, to - from }'
}

upload() { "$binary" artifact put libs/cli tree --data node >/dev/null; }
timed "artifact put" upload
timed "artifact put, nothing new" upload
{
    printf 'header = "Authorization: Bearer %s"\nsilent\nfail\n' "$(cat node/admin.token)"
    find tree -type f -printf '%P\n' |
        awk -v url="$url" '{ printf "upload-file = \"tree/%s\"\nurl = \"%s/curl/%s\"\noutput = \"/dev/null\"\n", $0, url, $0 }'
} >curl.config
timed "curl --parallel" curl --parallel --config curl.config 2>/dev/null
if type -P rclone >/dev/null; then
    rclone serve webdav dav --addr 127.0.0.1:18422 >/dev/null 2>&1 &
    started+=($!)
    until curl -s -o /dev/null http://127.0.0.1:18422/; do sleep 0.1; done
    timed "rclone copy to rclone serve webdav" rclone copy tree :webdav: --webdav-url http://127.0.0.1:18422 --transfers 16 --log-level ERROR
fi
