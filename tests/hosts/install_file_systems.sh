#!/bin/sh
# File systems in user space and what else tests/hosts mounts, as Debian packages. What is missing is skipped there.
# With --check it installs nothing, and ends with 1 when something is missing.
set -eu
missing=""
need() { PATH="/usr/sbin:/sbin:$PATH" command -v "$1" >/dev/null || missing="$missing $2"; }
need sshfs sshfs
need lowntfs-3g ntfs-3g
need mount.exfat-fuse exfat-fuse
need mkfs.exfat exfatprogs
need rclone rclone
need mergerfs mergerfs
need bindfs bindfs
need fuse-overlayfs fuse-overlayfs
[ -x /usr/lib/openssh/sftp-server ] || missing="$missing openssh-sftp-server"
/usr/bin/python3 -c "import fusepy" 2>/dev/null || missing="$missing python3-fusepy"
[ -n "$missing" ] || exit 0
[ "${1:-}" != --check ] || exit 1
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "test-disks: these are not installed, their cases are skipped:$missing" >&2
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -y -qq --no-install-recommends $missing >/dev/null
