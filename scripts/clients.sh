#!/usr/bin/env bash
# The Python clients that tests run against nodes, in a virtual environment of their own: scripts/clients.sh FOLDER
#
# Installs what tests/clients/requirements.txt names, once. Needs python3 with its venv module, and a package index.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,4{s/^# \{0,1\}//;p;}' "$0" >&2; exit 2; }
folder=$1
wanted=$(dirname "$0")/../tests/clients/requirements.txt
if ! cmp -s "$wanted" "$folder/installed.txt"; then
    rm -rf "$folder"
    python3 -m venv "$folder" ||
        { echo "python3 can't make a virtual environment (Debian: apt-get install python3-venv)" >&2; exit 1; }
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$wanted"
    cp "$wanted" "$folder/installed.txt"
fi
