# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Hooks before and after every request: authentication, disabled families, headers, request log."""

from __future__ import annotations

import hmac
import logging
import re
import time
import uuid

from flask import Flask, Response, g, request
from flask_cors import CORS

from app.blueprints import admin, headers, managed
from app.blueprints.exchange import runtime
from app.errors import NotFound, Unauthorized
from app.server.bodies import BODY
from config.families import Task
from config.logging import request_id
from config.settings import Settings

log = logging.getLogger("twinlens.access")

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
# The task that each blueprint serves.
_TASK_OF: dict[str | None, Task] = {
    "depth": "depth",
    "splat": "depth",
    "jobs": "depth",
    "video": "depth",
    "embedding": "embedding",
    "text": "embedding",
    "openai": "embedding",
    "cohere": "embedding",
    "similarity": "embedding",
    "classify": "embedding",
    "immich": "embedding",
}

# Endpoints that never need the API key: probes, and pages without data.
PROBES = {"health.health", "health.ready"}
PUBLIC = PROBES | {
    "health.index",
    "console.page",
    "console.asset",
    "docs.document",
    "docs.page",
    "docs.asset",
}
# Endpoints that the console polls in the background to show the state of the service.
_POLLED = PROBES | {"admin.list_models", "admin.show_model", "jobs.job"}


def install(app: Flask, settings: Settings) -> None:
    """Register the hooks; those before the request run in this order."""
    app.before_request(_start)
    app.before_request(_check_closing)
    app.before_request(_check_key)
    app.before_request(_check_task)
    app.after_request(_finish)
    if settings.cors_allowed_origins:
        CORS(
            app,
            origins=[_literal(origin) for origin in settings.cors_allowed_origins],
            allow_headers="*",
            methods=["GET", "HEAD", "POST", "DELETE", "OPTIONS"],
            expose_headers=headers.EXPOSED,
            send_wildcard=True,
            max_age=600,
        )


def _literal(origin: str) -> str | re.Pattern[str]:
    """An allowed origin as a pattern that matches only itself.

    flask-cors would read the brackets of an IPv6 address as a regular expression.
    """
    return origin if origin == "*" else re.compile(rf"{re.escape(origin)}\Z", re.IGNORECASE)


def _start() -> None:
    # One byte more than the body may have, so that ``BoundedBody`` refuses a body that is too
    # large. werkzeug would silently truncate a chunked body at this limit.
    request.max_content_length = request.environ[BODY].limits.most + 1
    given = request.headers.get(headers.REQUEST_ID, "")
    g.started = time.monotonic()
    g.request_id = given if _SANE_REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    request_id.set(g.request_id)


def _check_closing() -> None:
    # A process that shuts down still gets requests over connections that clients keep open.
    # The probes answer even then, and report the shutdown themselves.
    service = runtime()
    if service.is_closing() and request.endpoint not in PROBES:
        raise service.refusal()


def _check_key() -> None:
    settings = runtime().settings
    key = settings.service_api_key
    # A CORS preflight request cannot carry the key, and its answer tells only what CORS allows.
    if key is None or request.endpoint in PUBLIC or request.method == "OPTIONS":
        return
    if settings.service_api_key_for != "all" and _task() not in (
        None,
        settings.service_api_key_for,
    ):
        return
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    given = request.headers.get("X-Api-Key") or (bearer if scheme.lower() == "bearer" else "")
    # WSGI decodes header bytes as latin-1; encoding them again gives back the client's bytes.
    given_bytes = given.encode("latin-1", "replace")
    if not hmac.compare_digest(given_bytes, key.get_secret_value().encode()):
        raise Unauthorized("Send the key of this service as X-Api-Key or Authorization: Bearer")


def _task() -> Task | None:
    """The task that this request concerns; None if it is both, neither, or the route is unknown."""
    task = _TASK_OF.get(request.blueprint)
    if task or request.blueprint != "admin":
        return task
    if request.endpoint in ("admin.list_models", "admin.current_model"):
        return None if admin.lists_all() else "depth"
    # Uses the decoded key that the route itself receives, so that an unusual spelling of the URL
    # cannot bypass the check.
    model = managed.known((request.view_args or {}).get("key", ""))
    return model.task if model else None


def _check_task() -> None:
    enabled = runtime().settings.enabled_families
    task = _TASK_OF.get(request.blueprint)
    if task and task not in enabled and request.method != "OPTIONS":
        raise NotFound(
            f"The {task} family is turned off here: ENABLED_FAMILIES={','.join(enabled)}",
            code="family_off",
        )


def _finish(response: Response) -> Response:
    response.headers[headers.REQUEST_ID] = g.request_id
    if request.method == "POST" and request.blueprint in _TASK_OF:
        response.headers.update(headers.queue_values(runtime().waiting_room.figures()))
    results = g.get("results", ())
    provenances = [
        headers.provenance_values(result.provenance) for result in results if result.provenance
    ]
    for name in headers.PROVENANCE if provenances else ():
        # A request with images and texts may have used two engines; equal values are listed once.
        response.headers[name] = ", ".join(dict.fromkeys(each[name] for each in provenances))
    timings: dict[str, float] = {}
    for result in results:
        stages = headers.stage_seconds(result.timings)
        runtime().metrics.worked(g.model, stages)
        for stage, seconds in stages.items():
            timings[stage] = round(timings.get(stage, 0) + seconds * 1000, 1)
    if timings:
        # The header of W3C's "Server Timing": browsers display it, and the benchmarks read it.
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
    # The client chooses the path: repr() escapes line breaks that would forge lines of a text log.
    text = " ".join(f"{name}={value!r}" for name, value in fields.items() if value is not None)
    log.log(logging.DEBUG if _is_background_poll(response) else logging.INFO, text, extra=fields)
    return response


def _is_background_poll(response: Response) -> bool:
    """Whether this is one of the console's regular requests, which would fill the log.

    The console marks them with a header. Any client can send it, so it only counts for the routes
    that the console polls, and only for successes (a probe may also answer 503).
    """
    return (
        request.method == "GET"
        and request.endpoint in _POLLED
        and headers.GLANCE in request.headers
        and (response.status_code < 400 or request.endpoint in PROBES)
    )
