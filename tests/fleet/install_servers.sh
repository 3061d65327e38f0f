#!/bin/sh
# The servers of docker-compose.yaml as Debian packages, for a run without a container engine.
# With --check it installs nothing, and ends with 1 when something is missing.
set -eu
missing=""
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
command -v redis-server >/dev/null || missing="$missing redis-server"
[ -n "$missing" ] || exit 0
[ "${1:-}" != --check ] || exit 1
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "fleet-setup: these are needed and not installed:$missing. As root on Debian: apt-get install$missing" >&2
    exit 1
fi
# RUNLEVEL=1: do not start the packaged services; the tests run their own, on free ports.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
