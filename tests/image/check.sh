#!/bin/sh
# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
#
# Checks the image as its users run it: read-only, without privileges, as its own user and as any
# other, with the built-in models.
#
#   tests/image/check.sh [IMAGE]      without IMAGE, an image for CPUs is built first
#
# ENGINE=podman uses podman in place of docker; RUN_OPTIONS can hold more arguments of "run".
set -eu
cd "$(dirname "$0")/../.."
engine=${ENGINE:-docker}
image=${1:-}
if [ -z "$image" ]; then
    image=twinlens
    "$engine" build --tag "$image" .
fi
"$engine" image inspect --format '{{.Size}} bytes, {{.Architecture}}, user {{.Config.User}}' "$image"

for user in 1000 4711:0; do
    # shellcheck disable=SC2086 # RUN_OPTIONS is a list
    container=$("$engine" run --detach --read-only --tmpfs /tmp --volume /cache \
        --cap-drop ALL --security-opt no-new-privileges --user "$user" --env HF_HUB_OFFLINE=1 \
        --env DEPTH_MODEL=builtin-depth --env DEFAULT_MODEL=builtin-clip ${RUN_OPTIONS:-} "$image")
    trap '"$engine" logs "$container"; "$engine" rm --force --volumes "$container"' EXIT
    "$engine" exec --interactive "$container" python - <tests/image/ask.py
    "$engine" exec "$container" python -m app.server.alive # the health check
    # This process outlives its parent, so PID 1 has to reap it.
    "$engine" exec "$container" sh -c 'sleep 0.5 & exit 0'
    sleep 2
    "$engine" exec "$container" python -c "
import psutil
assert psutil.Process(1).name() == 'gunicorn', psutil.Process(1)
zombies = [p for p in psutil.process_iter() if p.status() == psutil.STATUS_ZOMBIE]
assert not zombies, zombies"
    "$engine" stop --time 40 "$container"
    test "$("$engine" inspect --format '{{.State.ExitCode}}' "$container")" = 0
    trap - EXIT
    "$engine" rm --volumes "$container"
    echo "user $user: right"
done
