# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Defines the routes of the reference, which at its start loads the model in REFERENCE_MODEL."""

from __future__ import annotations

import io
import os
from pathlib import Path

from flask import Flask, Response, jsonify, request
from PIL import Image, ImageOps

from benchmarks.reference.folders import folder
from benchmarks.reference.networks import Depth, Embedding, OpenClip, OpenvinoEmbedding

_NETWORKS = {
    "depth": Depth,
    "embedding": Embedding,
    "openvino": OpenvinoEmbedding,
    "open_clip": OpenClip,
}

app = Flask(__name__)
_network = _NETWORKS[os.environ["REFERENCE_NETWORK"]](
    folder(Path(os.environ["HF_HUB_CACHE"]), os.environ["REFERENCE_MODEL"])
)


@app.get("/ready")
def ready() -> str:
    """Answer that the service is ready: its model is loaded before it answers any request."""
    return "ready"


@app.post("/api/depth")
def depth() -> Response:
    """Answer with the depth map as a PNG."""
    assert isinstance(_network, Depth)
    file = io.BytesIO()
    _network(_uploaded()).save(file, "PNG")
    return Response(file.getvalue(), mimetype="image/png")


@app.post("/embed-image")
def embed() -> Response:
    """Answer with the vector as JSON."""
    assert isinstance(_network, Embedding | OpenClip)
    return jsonify(embedding=_network(_uploaded()).tolist())


def _uploaded() -> Image.Image:
    image = Image.open(request.files["image"].stream)
    return ImageOps.exif_transpose(image).convert("RGB")
