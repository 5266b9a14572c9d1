#!/usr/bin/env bash
# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT

# Sends what Classifarr sends: the requests of "Test Connection" and of its health monitor, then a
# request for an embedding. Usage:
#   classifarr.sh http://image-embedder:8000 poster.jpg [model]
set -euo pipefail
base=$1 poster=$2 model=${3:-ViT-B-16}

curl --fail --silent --show-error --max-time 15 -H 'X-Api-Key: unused' "$base/models" |
    grep -q "\"id\":\"$model\".*\"dims\":512"
curl --fail --silent --show-error --max-time 5 "$base/health" >/dev/null
curl --fail --silent --show-error --max-time 5 "$base/ready" |
    grep -q '"ready":true,"default_model_loaded":true'
printf '{"image_base64": "%s", "model": "%s", "normalize": true, "image_size": 512}' \
    "$(base64 -w0 "$poster")" "$model" >"$poster.json"
curl --fail --silent --show-error --max-time 15 -H 'Content-Type: application/json' \
    --data-binary "@$poster.json" "$base/embed-image" | grep -q '"embedding":\[.*"dims":512.*"image_size":512'
echo "Classifarr: ok"
