# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Routes that manage models and memory, for operators and for ImmichVR's settings page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from app.blueprints import managed
from app.blueprints.exchange import cancellation_check, parse_json, runtime
from app.blueprints.schemas import AddRequest, LoadRequest
from app.errors import UnsupportedType
from app.lending.entry import ModelStatus

blueprint = Blueprint("admin", __name__)

# The depth models that ImmichVR knows, in its order and with its names. Only these and "sharp" are
# listed for it, because its panel would show a row for every model, but its backend accepts only
# these keys.
_IMMICHVR_NAMES = {"small": "Small", "base": "Base", "large": "Large"}
# Largest body of a request to add a model.
_MOST_BYTES = 2**14


def lists_all() -> bool:
    """Whether this request asks for the models of all tasks instead of the depth models."""
    return request.args.get("type") == "all"


@blueprint.get("/api/models")
def list_models() -> ResponseReturnValue:
    """List the depth models that ImmichVR knows, or all models with ``?type=all``."""
    service = runtime()
    current = _current()
    if lists_all():
        models = [model.describe() for model in managed.everything()]
    else:
        models = [_as_immichvr_knows(key, model) for key, model in _listed().items()]
    return jsonify(
        models=models,
        current_model=current.spec.key if current else None,
        current_device=_device_word(current),
        default_model=service.settings.depth_model,
        can_download=not service.settings.hf_hub_offline,
    )


@blueprint.post("/api/models")
def add_model() -> ResponseReturnValue:
    """Add a model of the hub to the table, and have the master read the table again."""
    if not request.is_json:
        raise UnsupportedType("Send application/json with key and source")
    wanted = parse_json(AddRequest, most_bytes=_MOST_BYTES)
    service = runtime()
    added = service.additions.add(wanted.key, wanted.source, wanted.name, cancellation_check())
    if service.ask_for_reload():
        then = "appears in the list in some seconds"
    else:
        then = "appears in the list when the service is started again"
    message = f"{added.spec.title} is added and {then}"
    if remarks := added.remarks:
        message += f". {remarks}"
    body = {
        "success": True,
        "key": added.spec.key,
        "family": added.spec.family,
        "license": added.spec.license,
        "message": message,
    }
    return jsonify(body), 202


@blueprint.get("/api/models/current")
def current_model() -> ResponseReturnValue:
    """Name the current depth model if it is loaded."""
    current = _current()
    listed = _listed()
    return jsonify(
        loaded=current is not None,
        current_model=current.spec.key if current else None,
        device=_device_word(current),
        available_models=list(listed),
        downloaded_models=[key for key, model in listed.items() if model.status.on_disk],
    )


@blueprint.get("/api/models/<key>")
def show_model(key: str) -> ResponseReturnValue:
    """Show one model as the list does, and its download's progress or why it is unavailable."""
    return jsonify(managed.find(key).describe_alone())


@blueprint.post("/api/models/<key>/load")
def load_model(key: str) -> ResponseReturnValue:
    """Load a model, and download it first if it is not on disk.

    A depth model becomes the current depth model and replaces the previous one.
    """
    model = managed.find(key)
    message = model.load(_load_request().device)
    current = _current()
    current_key = current.spec.key if current else None
    return jsonify(success=True, message=message, current_model=current_key)


@blueprint.post("/api/models/<key>/unload")
def unload_model(key: str) -> ResponseReturnValue:
    """Unload a model to free its memory."""
    return jsonify(success=True, message=managed.find(key).unload())


@blueprint.post("/api/models/<key>/download")
def download_model(key: str) -> ResponseReturnValue:
    """Download a model without loading it; answers when the download is complete."""
    return jsonify(success=True, message=managed.find(key).download())


@blueprint.delete("/api/models/<key>")
def delete_model(key: str) -> ResponseReturnValue:
    """Unload a model and delete its files."""
    return jsonify(success=True, message=managed.find(key).delete())


@blueprint.post("/admin/cleanup")
def clean_up() -> ResponseReturnValue:
    """Collect garbage and release cached memory in every worker."""
    return jsonify(asdict(runtime().workers.clean_up(cancellation_check())))


def _load_request() -> LoadRequest:
    """Parse the body of a load request; an empty body stands for the default options."""
    if not request.is_json:
        if request.stream.read(1):
            raise UnsupportedType('Send no body, or application/json such as {"device": "cpu"}')
        return LoadRequest()
    return parse_json(LoadRequest, or_empty=True)


def _current() -> ModelStatus | None:
    """The current depth model; None if it is not loaded."""
    service = runtime()
    if "depth" not in service.settings.enabled_families:
        return None
    status = service.reports.status(service.operations.current_depth_model())
    return status if status.state == "loaded" else None


def _device_word(status: ModelStatus | None) -> str | None:
    if status is None or status.network.device is None:
        return None
    return "gpu" if status.network.device.is_gpu else "cpu"


def _listed() -> dict[str, managed.Model]:
    """The models that ImmichVR is shown: those it knows, and DEPTH_MODEL."""
    keys = dict.fromkeys([*_IMMICHVR_NAMES, managed.SHARP, runtime().settings.depth_model])
    found = {key: managed.known(key) for key in keys}
    return {key: model for key, model in found.items() if model and model.task == "depth"}


def _as_immichvr_knows(key: str, model: managed.Model) -> dict[str, Any]:
    described = model.describe()
    return described | {"name": _IMMICHVR_NAMES.get(key, described["name"])}
