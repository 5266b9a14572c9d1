#!/bin/sh
# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
#
# Builds and checks the image on a machine that has neither a Docker engine nor access to Docker
# Hub. Run it as root on Debian:
#
#   tests/image/without_docker.sh FOLDER [OPTIONS OF "build"]
#
# An image made by debootstrap and from this machine's Python 3.11 replaces python:3.11-slim-trixie.
# FOLDER takes 30 GB for the CUDA variant and can be deleted afterwards. This needs the packages
# debootstrap, buildah, podman and iproute2.
set -eu
work=$(realpath "$1")
shift
project=$(realpath "$(dirname "$0")/../..")
base=docker.io/library/python:3.11-slim-trixie
mkdir -p "$work"
printf '[storage]\ndriver = "overlay"\ngraphroot = "%s/graph"\nrunroot = "%s/run"\n' \
    "$work" "$work" >"$work/storage.conf"
export CONTAINERS_STORAGE_CONF="$work/storage.conf" BUILDAH_ISOLATION=chroot TMPDIR="$work"

if ! buildah inspect "$base" >"$work/base.json" 2>&1; then
    [ -d "$work/root" ] || debootstrap --variant=minbase --include=ca-certificates,netbase,tzdata,libssl3t64,libffi8,libsqlite3-0,libbz2-1.0,liblzma5,libreadline8t64,zlib1g,libexpat1,libuuid1,libncursesw6 \
        trixie "$work/root"
    rm -rf "$work"/root/var/cache/apt/* "$work"/root/var/lib/apt/lists/*
    python=$(python3.11 -c "import sys; print(sys.base_prefix)")
    mkdir -p "$work/root/usr/local/lib/python3.11"
    cp -a "$python/bin/python3.11" "$work/root/usr/local/bin/"
    # There is no libpython where Python is linked statically.
    cp -a "$python"/lib/libpython3* "$work/root/usr/local/lib/" || true
    tar -C "$python/lib/python3.11" --exclude=site-packages --exclude='test*' --exclude=__pycache__ \
        -cf - . | tar -C "$work/root/usr/local/lib/python3.11" -xf -
    mkdir -p "$work/root/usr/local/lib/python3.11/site-packages"
    cp -a "$python"/lib/python3.11/site-packages/pip* \
        "$work/root/usr/local/lib/python3.11/site-packages/"
    ln -sf python3.11 "$work/root/usr/local/bin/python3"
    ln -sf python3.11 "$work/root/usr/local/bin/python"
    ldconfig -r "$work/root"
    container=$(buildah from scratch)
    buildah copy --quiet "$container" "$work/root" /
    buildah config --env PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --env LANG=C.UTF-8 \
        "$container"
    buildah commit --quiet --rm "$container" "$base"
fi

cd "$project"
buildah build --format docker --layers --pull-never --volume /etc/ssl/certs:/etc/ssl/certs:ro --tag twinlens "$@" .
# crun needs cgroups of a single version. The new network namespace has nothing but loopback.
exec unshare --mount --net sh -euc '
    umount --recursive /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
    ip link set lo up
    ENGINE=podman RUN_OPTIONS="--cgroups=disabled --network=host --read-only-tmpfs=false \
        --ulimit=nofile=4096:4096 --ulimit=nproc=4096:4096" exec tests/image/check.sh twinlens'
