# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The routes of the front page and of the health probes, with the state of each model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from app.blueprints import console
from app.blueprints.exchange import runtime
from app.lending.entry import ModelStatus, State
from config.version import VERSION

blueprint = Blueprint("health", __name__)

_NOTABLE = ("loading", "loaded", "unavailable")


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """Name the service and its main routes; browsers get the console instead."""
    wants_page = console.is_wanted(request.accept_mimetypes)
    answer = console.page() if wants_page else _index()
    answer.vary.add("Accept")
    return answer


def _index() -> Response:
    return jsonify(
        message="ImmichVR AI Service",
        version=VERSION,
        model="Depth Anything V2",
        endpoints={
            "health": "/health",
            "ready": "/ready",
            "models": "/models",
            "process_depth": "/api/depth (POST)",
            "generate_splat": "/api/splat (POST)",
            "video_depth": "/api/video/depth (POST)",
            "video_sbs": "/api/video/sbs (POST)",
            "video_frames": "/api/video/frames (POST)",
            "embed_image": "/embed-image (POST)",
            "embed_text": "/embed-text (POST)",
            "openai": "/v1/embeddings (POST)",
            "metrics": "/metrics",
        },
    )


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """Report the current state without waiting; answers 503 with the reason if it is bad."""
    service = runtime()
    settings = service.settings
    reason = "; ".join(service.reports.troubles())
    statuses = service.statuses()
    answer = jsonify(
        status="unhealthy" if reason else _status_word(),
        **({"reason": reason} if reason else {}),
        service="ai",
        model="Depth-Anything-V2",
        model_status=_depth_state(),
        provider="local",
        default_model=settings.default_model,
        device=asdict(service.device()),
        **engine_in_use(statuses),
        models=[_describe(status) for status in statuses],
        memory=asdict(service.reports.memory()),
        queue=asdict(service.waiting_room.figures()),
        cache={
            "hits": service.shared.total("cache_hits"),
            "misses": service.shared.total("cache_misses"),
            "size": service.shared.total("cache_size"),
        },
        version=VERSION,
        workers=settings.web_concurrency,
    )
    return answer, 503 if reason else 200


@blueprint.get("/ready")
def ready() -> ResponseReturnValue:
    """Answer 200 once the default model can serve requests, and until then 503 with the reason."""
    service = runtime()
    is_ready = service.is_ready()
    statuses = service.statuses()
    (status,) = (each for each in statuses if each.spec == service.readiness_model())
    body: dict[str, Any] = {
        "ready": is_ready,
        "default_model_loaded": is_ready,
        "default_model": status.spec.key,
        "device": asdict(service.device()),
        "models": [_describe(each) for each in statuses],
    }
    if not is_ready:
        troubles = "; ".join(service.reports.troubles())
        if service.is_closing():
            troubles = "the service is shutting down"
        body["reason"] = (
            troubles or status.reason or f"{status.spec.key} is {status.state.replace('_', ' ')}"
        )
    return jsonify(body), 200 if is_ready else 503


def _status_word() -> str:
    """The word for a healthy service, which depends on the port that the request came to.

    Twinlens replaces two services that used different words: requests to the depth service's port
    get "healthy", all others "ok".
    """
    settings = runtime().settings
    own_port = settings.ai_service_port != settings.image_embedder_port
    # Under gunicorn SERVER_PORT is the port that accepted the connection, not the Host header's.
    asked = request.environ.get("SERVER_PORT") == str(settings.ai_service_port)
    return "healthy" if own_port and asked else "ok"


def _describe(status: ModelStatus) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": status.spec.key,
        "type": "splat" if status.spec.is_sharp else status.spec.task,
        "loaded": status.state == "loaded",
        "state": status.state,
    }
    text = status.others.get("text")
    optional = {
        "weights": status.network.weights,
        "engine": status.network.engine,
        "precision": status.network.precision,
        "revision": status.network.revision,
        "preprocess_version": status.network.preprocess_version,
        # This is left out unless the text network is in use, because most services never load it.
        "text_state": text if text in _NOTABLE else None,
    }
    return described | _without_none(optional) | download_figures(status)


def _depth_state() -> State:
    """The state of the model that a depth request without ``?model=`` would use."""
    service = runtime()
    if "depth" not in service.settings.enabled_families:
        return "not_loaded"
    return service.reports.status(service.operations.current_depth_model()).state


def _without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the fields that are None: answers omit unknown values instead of sending null."""
    return {name: value for name, value in fields.items() if value is not None}


def download_figures(status: ModelStatus) -> dict[str, Any]:
    """The progress of a model's download, or why the model is unavailable."""
    return _without_none(
        {
            "reason": status.reason,
            "downloaded_bytes": status.downloaded_bytes,
            "total_bytes": status.total_bytes,
            "progress": status.progress,
        }
    )


def engine_in_use(statuses: Iterable[ModelStatus]) -> dict[str, str]:
    """Engine and precision of the first loaded model, or those planned if no model is loaded."""
    service = runtime()
    for status in statuses:
        network = status.network
        if network.engine and network.precision:
            return {"engine": network.engine, "precision": network.precision}
    return {"engine": service.loader.expected_engine(), "precision": service.settings.precision}
