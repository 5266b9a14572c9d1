# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Creates the WSGI app."""

from __future__ import annotations

import logging
import os

from flask import Flask

from app.blueprints import (
    admin,
    classify,
    cohere,
    console,
    depth,
    docs,
    embedding,
    exchange,
    health,
    hooks,
    immich,
    jobs,
    openai,
    preview,
    prometheus,
    similarity,
    splat,
    text,
    video,
)
from app.host import memory
from app.host.shared_state import SharedState
from app.runtime import Runtime
from app.server.bodies import BodyGuard, BodyLimits, Budget
from config.settings import Settings, load_settings
from config.threads import max_bodies, max_film_bodies

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
    # More than any route reads; /classify, whose labels are parts, sets a number of its own.
    app.config["MAX_FORM_PARTS"] = 20
    app.request_class = exchange.Request
    app.json.sort_keys = False  # type: ignore[attr-defined]
    runtime = runtime or Runtime(settings)
    app.extensions["twinlens"] = runtime
    exchange.install(app)
    hooks.install(app, settings)
    for part in (
        health,
        console,
        docs,
        depth,
        splat,
        preview,
        video,
        jobs,
        embedding,
        text,
        openai,
        cohere,
        similarity,
        classify,
        immich,
        admin,
        prometheus,
    ):
        app.register_blueprint(part.blueprint)
    app.wsgi_app = _guarded(app, settings, runtime.shared)  # type: ignore[method-assign]
    return app


def _guarded(app: Flask, settings: Settings, shared: SharedState) -> BodyGuard:
    """The app behind the limits on request bodies."""
    seconds = settings.body_timeout_seconds
    limits = {
        "": BodyLimits(settings.max_upload_bytes, "MAX_UPLOAD_BYTES", seconds),
        video.PATH: BodyLimits(
            settings.max_video_bytes, "MAX_VIDEO_BYTES", seconds, are_films=True
        ),
    }
    bodies = max_bodies(settings.image_embedder_concurrency, settings.image_embedder_max_queue)
    films = max_film_bodies(settings.video_concurrency)
    budget = Budget(shared, settings.max_waiting_bytes, bodies, films)
    return BodyGuard(app.wsgi_app, limits, budget, memory.trim)


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
