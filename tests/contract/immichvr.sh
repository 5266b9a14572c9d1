#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT

# Sends what ImmichVR's backend sends for each photo: it loads the chosen model, then posts the photo
# without ?model=. Usage:
#   immichvr.sh http://ai:5000 photo.jpg out.png [model]
set -euo pipefail
base=$1 photo=$2 out=$3 model=${4:-base}

curl --fail --silent --show-error "$base/health" | grep -q '"healthy"\|"ok"'
curl --fail --silent --show-error "$base/api/models" | grep -q "\"$model\""
curl --fail --silent --show-error -H 'Content-Type: application/json' -d '{"device": "cpu"}' \
    "$base/api/models/$model/load" | grep -q '"success":true'
# ImmichVR's panel shows one row for each model, and highlights its buttons if is_loaded is true: of
# one depth model, and of the splats that are made with it.
rows=$(curl --fail --silent --show-error "$base/api/models")
[ "$(grep -o '"key":"[a-z]*"' <<<"$rows" | tr '\n' ' ')" = '"key":"small" "key":"base" "key":"large" "key":"sharp" ' ]
[ "$(grep -o '{[^{}]*"is_loaded":true[^{}]*}' <<<"$rows" | grep -c '"type":"depth"')" = 1 ]
curl --fail --silent --show-error --max-time 120 -F "image=@$photo" "$base/api/depth" -o "$out" -D "$out.headers"
grep -qi "^x-model-used: $model" "$out.headers"
curl --fail --silent --show-error "$base/api/models/current" | grep -q "\"current_model\":\"$model\""
curl --fail --silent --show-error -X POST -H 'Content-Type: application/x-www-form-urlencoded' \
    -H 'Content-Length: 0' "$base/api/models/$model/unload" | grep -q '"success":true'
echo "ImmichVR: ok"
