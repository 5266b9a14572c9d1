# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The front page and the probes: what clients and orchestrators ask before they send images."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, jsonify, request
from flask.typing import ResponseReturnValue

from app.blueprints import console
from app.blueprints.exchange import runtime
from app.blueprints.model_states import download_figures, engine, known
from app.lending.entry import ModelStatus, State
from config.version import VERSION

blueprint = Blueprint("health", __name__)

_NOTABLE = ("loading", "loaded", "unavailable")


@blueprint.get("/")
def index() -> ResponseReturnValue:
    """What the service is and where its main routes are; for browsers the console."""
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
            "embed_image": "/embed-image (POST)",
            "embed_text": "/embed-text (POST)",
            "openai": "/v1/embeddings (POST)",
            "metrics": "/metrics",
        },
    )


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """Alive, and what it does at this moment; waits for nothing. 503 if memory or device fail."""
    service = runtime()
    settings = service.settings
    reason = "; ".join(service.reports.troubles())
    statuses = service.reports.statuses()
    answer = jsonify(
        status="unhealthy" if reason else _status_word(),
        **({"reason": reason} if reason else {}),
        service="ai",
        model="Depth-Anything-V2",
        model_status=_depth_state(),
        provider="local",
        default_model=settings.default_model,
        device=asdict(service.device()),
        **engine(statuses),
        models=[_describe(status) for status in statuses],
        memory=asdict(service.reports.memory()),
        queue=asdict(service.waiting_room.figures()),
        version=VERSION,
        workers=settings.web_concurrency,
    )
    return answer, 503 if reason else 200


@blueprint.get("/ready")
def ready() -> ResponseReturnValue:
    """200 once the default model can answer, else 503 and what is missing."""
    service = runtime()
    is_ready = service.is_ready()
    status = service.reports.status(service.readiness_model())
    body: dict[str, Any] = {
        "ready": is_ready,
        "default_model_loaded": is_ready,
        "default_model": status.spec.key,
        "device": asdict(service.device()),
        "models": [_describe(each) for each in service.reports.statuses()],
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
    """The two replaced services word their health differently; the listener tells who asks."""
    settings = runtime().settings
    own_port = settings.ai_service_port != settings.image_embedder_port
    # Under gunicorn SERVER_PORT is the accepting listener's port, whatever the Host header says.
    asked = request.environ.get("SERVER_PORT") == str(settings.ai_service_port)
    return "healthy" if own_port and asked else "ok"


def _describe(status: ModelStatus) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": status.spec.key,
        "type": status.spec.task,
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
        # Most services never load one; its downloads are those of the model.
        "text_state": text if text in _NOTABLE else None,
    }
    return described | known(optional) | download_figures(status)


def _depth_state() -> State:
    """The state of the model that a depth request without ``?model=`` would use."""
    service = runtime()
    if "depth" not in service.settings.enabled_families:
        return "not_loaded"
    return service.reports.status(service.operations.current_depth_model()).state
