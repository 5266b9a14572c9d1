# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Twinlens: photos to depth maps, images to vectors, behind one HTTP API."""

from __future__ import annotations

import os

from flask import Flask

from app.blueprints import admin, depth, docs, embedding, exchange, gate, health
from app.runtime import Runtime
from config.settings import Settings, load_settings


def create_app(settings: Settings | None = None, runtime: Runtime | None = None) -> Flask:
    """Build the WSGI app; the only place where its parts are wired.

    Args:
        settings: read from the environment when absent.
        runtime: made from the settings when absent; tests hand in another.
    """
    settings = settings or load_settings()
    # The service itself never asks the hub, only its download process does. transformers and the
    # hub client read this when they are imported, which happens later, inside the families.
    os.environ["HF_HUB_OFFLINE"] = "1"
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes
    app.config["MAX_FORM_MEMORY_SIZE"] = settings.max_upload_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["twinlens"] = runtime or Runtime(settings)
    exchange.install(app)
    gate.install(app, settings)
    for part in (health, docs, depth, embedding, admin):
        app.register_blueprint(part.blueprint)
    return app
