# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Before and after every request: who may ask, what is served, request id, request log."""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid
from dataclasses import asdict

from flask import Flask, Response, g, request
from flask_cors import CORS

from app.blueprints import admin
from app.blueprints.exchange import runtime
from app.errors import NotFound, Unauthorized
from config.families import Task
from config.logging import request_id
from config.settings import Settings

log = logging.getLogger("twinlens.access")

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# What each blueprint needs.
_TASK_OF: dict[str | None, Task] = {
    "depth": "depth",
    "embedding": "embedding",
    "text": "embedding",
    "openai": "embedding",
}
_PROVENANCE = {
    "revision": "X-Model-Revision",
    "engine": "X-Engine",
    "precision": "X-Precision",
    "preprocess_version": "X-Preprocess-Version",
}
# Headers that scripts of other origins may read.
_EXPOSED = [
    "X-Model-Used",
    "X-Model-Weights",
    *_PROVENANCE.values(),
    "X-Depth-Min",
    "X-Depth-Max",
    "X-Request-ID",
    "Content-Disposition",
]

# Probes, and pages without data. Everything else needs the key where one is set.
PROBES = {"health.health", "health.ready"}
PUBLIC = PROBES | {
    "health.index",
    "console.page",
    "console.asset",
    "docs.document",
    "docs.page",
    "docs.asset",
}


def install(app: Flask, settings: Settings) -> None:
    """Register the hooks, in the order in which they run."""
    app.before_request(_start)
    app.before_request(_check_life)
    app.before_request(_check_key)
    app.before_request(_check_task)
    app.after_request(_finish)
    if settings.cors_allowed_origins:
        CORS(
            app,
            origins=[_literal(origin) for origin in settings.cors_allowed_origins],
            allow_headers="*",
            methods=["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
            expose_headers=_EXPOSED,
            send_wildcard=True,
            max_age=600,
        )


def _literal(origin: str) -> str | re.Pattern[str]:
    """For flask-cors, which would take the brackets of an IPv6 address for a pattern."""
    return origin if origin == "*" else re.compile(rf"{re.escape(origin)}\Z", re.IGNORECASE)


def _start() -> None:
    given = request.headers.get("X-Request-ID", "")
    g.started = time.monotonic()
    g.request_id = given if _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    request_id.set(g.request_id)


def _check_life() -> None:
    # A request on a kept connection of a process that ends; the probes say so themselves.
    service = runtime()
    if service.is_closing() and request.endpoint not in PROBES:
        raise service.refusal()


def _check_key() -> None:
    settings = runtime().settings
    key = settings.service_api_key
    # A preflight request cannot carry the key; it tells nothing but what CORS allows.
    if key is None or request.endpoint in PUBLIC or request.method == "OPTIONS":
        return
    if settings.service_api_key_for != "all" and _task() not in (
        None,
        settings.service_api_key_for,
    ):
        return
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = request.headers.get("X-Api-Key") or (bearer if scheme.lower() == "bearer" else "")
    # WSGI hands headers over as latin-1, whatever their bytes meant.
    given_bytes = given.encode("latin-1", "replace")
    if not hmac.compare_digest(given_bytes, key.get_secret_value().encode()):
        raise Unauthorized("Send the key of this service as X-Api-Key or Authorization: Bearer")


def _task() -> Task | None:
    """The only task that this request is about; None: it is about both, none, or no route."""
    task = _TASK_OF.get(request.blueprint)
    if task or request.blueprint != "admin":
        return task
    if request.endpoint in ("admin.list_models", "admin.current_model"):
        return None if admin.lists_all() else "depth"
    # Decided by what the route itself gets, so that no way to write an address leads past it.
    spec = runtime().registry.find((request.view_args or {}).get("key", ""))
    return spec.task if spec else None


def _check_task() -> None:
    enabled = runtime().settings.enabled_families
    task = _TASK_OF.get(request.blueprint)
    if task and task not in enabled and request.method != "OPTIONS":
        raise NotFound(
            f"The {task} family is turned off here: ENABLED_FAMILIES={','.join(enabled)}"
        )


def _finish(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.request_id
    if request.method == "POST" and request.blueprint in _TASK_OF:
        for name, value in asdict(runtime().waiting_room.figures()).items():
            header = "-".join(word.capitalize() for word in name.split("_"))
            response.headers[f"X-Queue-{header}"] = f"{value:g}"
    results = g.get("results", ())
    for name, header in _PROVENANCE.items() if results else ():
        # Images and texts of one request may have gone to different engines.
        values = dict.fromkeys(str(getattr(result.provenance, name)) for result in results)
        response.headers[header] = ", ".join(values)
    timings: dict[str, float] = {}
    for result in results:
        stages = asdict(result.timings)
        runtime().metrics.worked(g.model, stages)
        for stage, seconds in stages.items():
            timings[stage] = round(timings.get(stage, 0) + seconds * 1000, 1)
    if timings:
        # W3C "Server Timing": browsers show it, and benchmarks read it.
        response.headers["Server-Timing"] = ", ".join(
            f"{stage};dur={milliseconds}" for stage, milliseconds in timings.items()
        )
    elapsed = time.monotonic() - g.started
    route = request.url_rule.rule if request.url_rule else None
    runtime().metrics.answered(route, request.method, response.status_code, elapsed)
    fields = {
        "method": request.method,
        "path": request.path,
        "status": response.status_code,
        "duration_ms": round(elapsed * 1000, 1),
        "model": g.get("model"),
        "wait_ms": timings.get("wait"),
        "infer_ms": timings.get("infer"),
        "bytes_in": request.content_length or 0,
        "bytes_out": response.content_length or 0,
    }
    # The path is the client's: its line breaks must not make lines of their own in a text log.
    text = " ".join(f"{name}={value!r}" for name, value in fields.items() if value is not None)
    log.info(text, extra=fields)
    return response
