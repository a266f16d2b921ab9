#!/usr/bin/env bash
# Runs all tests under another Debian's QGIS and Python, in a chroot under .matrix that is kept.
# RELEASE picks it; the default is trixie (QGIS 3.40, Python 3.13).
# Arguments go to pytest. The first run takes several minutes and 3 GB. Needs root and a Debian host.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
release="${RELEASE:-trixie}"
chroot="$PWD/.matrix/$release"

if ((EUID != 0)); then
    echo "matrix: run as root, a chroot needs it." >&2
    exit 1
fi
command -v debootstrap >/dev/null || { apt-get -q update && apt-get -q install -y debootstrap; }

if [[ ! -e $chroot/complete ]]; then
    rm -rf "$chroot"
    mkdir -p "$chroot"
    debootstrap --variant=minbase --include=ca-certificates,git,make "$release" "$chroot"
    touch "$chroot/complete"
fi
# The chroot reaches the network the way this machine does.
for settings in /etc/resolv.conf /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    if [[ -e $settings ]]; then cp "$settings" "$chroot$settings"; fi
done

# A copy of the working tree: the chroot needs a .venv of its own, which stays for the next run.
copy="$chroot/root/iikmc"
mkdir -p "$copy"
find "$copy" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git ls-files -z --cached --others --exclude-standard --deduplicate |
    tar --create --null --files-from=- --ignore-failed-read | tar --extract --directory "$copy"

# The mounts live in a namespace of their own and go away with it.
unshare --mount bash -euc '
    mount -t proc proc "$1/proc"
    mount --bind /dev "$1/dev"
    mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
    exec chroot "$1" /usr/bin/env HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
        bash /root/iikmc/tools/test.sh "${@:2}"
' matrix "$chroot" "$@"
