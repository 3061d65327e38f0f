#!/bin/sh
# nginx is the benchmark's S3 source, iproute2 shapes its link, openssl makes its certificate: Debian packages.
set -eu
PATH="$PATH:/usr/sbin:/sbin"
missing=""
command -v nginx >/dev/null || missing="$missing nginx-light"
command -v tc >/dev/null || missing="$missing iproute2"
command -v openssl >/dev/null || missing="$missing openssl"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "bench-setup: these are needed and not installed:$missing. As root on Debian: apt-get install$missing" >&2
    exit 1
fi
# RUNLEVEL=1: do not start the packaged service; the benchmark runs its own.
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
