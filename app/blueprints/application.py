# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Creates the WSGI app."""

from __future__ import annotations

import logging
import os

from flask import Flask

from app.blueprints import (
    admin,
    console,
    depth,
    docs,
    embedding,
    exchange,
    health,
    hooks,
    openai,
    prometheus,
    splat,
    text,
)
from app.host import memory
from app.runtime import Runtime
from app.server.bodies import BodyGuard, Budget
from config.settings import Settings, load_settings
from config.threads import max_bodies

log = logging.getLogger("twinlens.app")


def create_app(settings: Settings | None = None, runtime: Runtime | None = None) -> Flask:
    """Build the WSGI app: the only place that connects routes, hooks and runtime.

    Args:
        settings: read from the environment when absent.
        runtime: created from the settings when absent; tests pass another one.
    """
    settings = settings or load_settings()
    # Only the download process may contact the hub. transformers and the hub client read this
    # variable when the families import them, which happens later.
    os.environ["HF_HUB_OFFLINE"] = "1"
    app = Flask(__name__, static_folder=None)
    # This is one byte more than BodyGuard below allows, so that BodyGuard refuses a body that is
    # too large. werkzeug would silently truncate a chunked body at this limit.
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_bytes + 1
    app.config["MAX_FORM_PARTS"] = 20  # more than any route reads
    app.request_class = exchange.Request
    app.json.sort_keys = False  # type: ignore[attr-defined]
    runtime = runtime or Runtime(settings)
    app.extensions["twinlens"] = runtime
    exchange.install(app)
    hooks.install(app, settings)
    for part in (health, console, docs, depth, splat, embedding, text, openai, admin, prometheus):
        app.register_blueprint(part.blueprint)
    bodies = max_bodies(settings.image_embedder_concurrency, settings.image_embedder_max_queue)
    budget = Budget(runtime.shared, settings.max_waiting_bytes, bodies)
    guard = BodyGuard(
        app.wsgi_app,
        settings.max_upload_bytes,
        settings.body_timeout_seconds,
        budget,
        memory.trim,
    )
    app.wsgi_app = guard  # type: ignore[method-assign] # as Flask's documentation has it
    return app


def reloaded(app: Flask, settings: Settings) -> Flask:
    """Build an app with new settings and load its models; return the old app if anything fails.

    gunicorn's master process calls this on SIGHUP.
    """
    before: Runtime = app.extensions["twinlens"]
    try:
        runtime = Runtime(settings, before)
        fresh = create_app(settings, runtime)
        runtime.warm()
    except Exception:
        log.exception("the reload failed; everything stays as it is")
        return app
    return fresh
