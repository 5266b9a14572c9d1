# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests what docs/contracts.md promises for model management by ImmichVR's backend and panel.

The section is "Model management, as the ImmichVR backend and its panel use it today".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from benchmarks.service import Service
from config.settings import Settings
from tests.contract import check
from tests.fake_hub import FakeHub
from tests.services import PHOTO
from tests.waiting import wait_for

EMPTY = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "0"}


def depth(service: Service, query: str = "") -> requests.Response:
    return service.post(f"/api/depth{query}", files={"image": ("a.png", PHOTO)})


def current(service: Service) -> Any:
    return check.json(service.get("/api/models/current"))


def active(service: Service) -> list[str]:
    """Return the depth models that ImmichVR's panel shows as active."""
    listed = check.json(service.get("/api/models"))["models"]
    return [model["key"] for model in listed if model["is_loaded"] and model["type"] == "depth"]


def in_memory(service: Service) -> list[str]:
    """Return the depth models that are in memory, whatever the panel shows."""
    everything = check.json(service.get("/api/models?type=all"))["models"]
    return [
        each["key"] for each in everything if (each["type"], each["state"]) == ("depth", "loaded")
    ]


@pytest.fixture
def fresh(managed: Service) -> Service:
    """Return the service with no model loaded and none chosen as the current one."""
    for key in ("small", "base", "large", "ViT-L-14", "ViT-B-16"):
        check.json(managed.post(f"/api/models/{key}/unload", headers=EMPTY))
    return managed


def test_the_list(fresh: Service) -> None:
    listed = check.json(fresh.get("/api/models"))
    assert listed["default_model"] == "small"
    assert listed["current_model"] is None
    assert listed["current_device"] is None
    small, base, large, _ = listed["models"]
    assert small == {
        "key": "small",
        "name": "Small",
        "type": "depth",
        "params": "25M",
        "memory": "~100MB",
        "download": "99 MB",
        "description": "Fast, good for previews",
        "huggingface_id": "depth-anything/Depth-Anything-V2-Small-hf",
        "license": "Apache-2.0",
        "is_loaded": False,
        "is_downloaded": True,
        "state": "not_loaded",
        "weights": None,
        "metric": False,
    }
    assert [model["name"] for model in (base, large)] == ["Base", "Large"]
    assert [base["params"], base["memory"], base["license"]] == ["97M", "~400MB", "CC-BY-NC-4.0"]
    assert base["description"] == "Balanced quality/speed"
    assert [large["params"], large["memory"], large["license"]] == [
        "335M",
        "~1.3GB",
        "CC-BY-NC-4.0",
    ]
    assert large["description"] == "Best detail (hair, fences)"


def test_the_list_of_all_models(fresh: Service) -> None:
    everything = check.json(fresh.get("/api/models?type=all"))["models"]
    by_key = {model["key"]: model for model in everything}
    assert by_key["builtin-depth"]["huggingface_id"] == "built-in"
    assert by_key["builtin-depth"]["is_downloaded"] is True
    assert list(by_key) == [*(spec.key for spec in Settings().table().model), "sharp"]
    metric = {key: model["metric"] for key, model in by_key.items()}
    assert metric["small"] is False
    assert metric["metric-indoor-small"] is True
    assert metric["ViT-L-14"] is None


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"headers": EMPTY},
        {"json": {}},
        {"json": {"device": "cpu"}},
        {"json": {"device": "auto"}},
    ],
)
def test_load_with_every_body_that_clients_send(fresh: Service, how: dict[str, Any]) -> None:
    loaded = check.json(fresh.post("/api/models/base/load", **how))
    assert loaded["success"] is True
    assert loaded["message"]
    assert loaded["current_model"] == "base"
    assert current(fresh) == {
        "loaded": True,
        "current_model": "base",
        "device": "cpu",
        "available_models": ["small", "base", "large", "sharp"],
        "downloaded_models": ["small", "base", "large", "sharp"],
    }
    listed = check.json(fresh.get("/api/models"))
    assert (listed["current_model"], listed["current_device"]) == ("base", "cpu")
    assert [model["is_loaded"] for model in listed["models"]] == [False, True, False, True]


def test_a_gpu_that_is_not_there_means_the_cpu_and_is_said(fresh: Service) -> None:
    loaded = check.json(fresh.post("/api/models/small/load", json={"device": "gpu"}))
    assert "no GPU" in loaded["message"]
    assert current(fresh)["device"] == "cpu"


def test_a_load_that_makes_no_sense(fresh: Service) -> None:
    check.error(fresh.post("/api/models/small/load", json={"device": "toaster"}), 422)
    check.error(fresh.post("/api/models/small/load", data="device=cpu"), 415)


def test_the_choice_holds_for_requests_that_name_no_model(fresh: Service) -> None:
    assert depth(fresh).headers["X-Model-Used"] == "small", "the default is loaded on first use"
    check.json(fresh.post("/api/models/large/load"))
    assert depth(fresh).headers["X-Model-Used"] == "large"
    assert depth(fresh, "?model=base").headers["X-Model-Used"] == "base"
    assert depth(fresh).headers["X-Model-Used"] == "large", "?model= changes nothing for others"
    assert current(fresh)["current_model"] == "large"
    check.json(fresh.post("/api/models/base/unload", headers=EMPTY))
    assert depth(fresh).headers["X-Model-Used"] == "large", "another model was unloaded"
    check.json(fresh.post("/api/models/large/unload", headers=EMPTY))
    assert current(fresh)["loaded"] is True, "DEPTH_MODEL is current again, and it is loaded"
    assert depth(fresh).headers["X-Model-Used"] == "small"


def test_the_panel_sees_one_active_model_and_can_choose_each_again(fresh: Service) -> None:
    """In ImmichVR's panel, a model's button loads it, or unloads it if it is the active one."""
    for key in ("base", "large", "small", "base"):
        for device in ({"device": "cpu"}, {}):  # the panel names the device; the worker does not
            assert check.json(fresh.post(f"/api/models/{key}/load", json=device))["success"]
            assert active(fresh) == [key]
            assert in_memory(fresh) == [key], "the one that was loaded before is freed"
            assert depth(fresh).headers["X-Model-Used"] == key
    check.json(fresh.post("/api/models/base/unload", headers=EMPTY))
    assert active(fresh) == []
    assert check.json(fresh.get("/api/models"))["current_model"] is None


def test_what_requests_name_stays_beside_the_one_that_was_chosen(fresh: Service) -> None:
    check.json(fresh.post("/api/models/base/load", json={}))
    assert depth(fresh, "?model=large").headers["X-Model-Used"] == "large"
    assert active(fresh) == ["base"]
    assert in_memory(fresh) == ["base", "large"]
    check.json(fresh.post("/api/models/small/load", json={}))
    assert active(fresh) == ["small"]
    assert in_memory(fresh) == ["small", "large"]
    large = check.json(fresh.get("/api/models/large"))
    assert (large["is_loaded"], large["state"]) == (False, "loaded")


def test_loads_of_several_models_at_once_leave_one(fresh: Service) -> None:
    keys = ["small", "base", "large"] * 4
    with ThreadPoolExecutor(len(keys)) as pool:
        answers = list(pool.map(lambda key: fresh.post(f"/api/models/{key}/load"), keys))
    assert {answer.status_code for answer in answers} <= {200, 500}
    check.json(fresh.post("/api/models/small/load"))
    check.json(fresh.post("/api/models/base/load"))
    assert active(fresh) == ["base"]
    wait_for(lambda: in_memory(fresh) == ["base"], service=fresh)


def test_a_failed_load_frees_nothing(fresh: Service) -> None:
    check.json(fresh.post("/api/models/base/load"))
    check.error(fresh.post("/api/models/huge/load"), 400, "Unknown model")
    assert active(fresh) == in_memory(fresh) == ["base"]


def test_health_and_depth_while_nothing_is_loaded(fresh: Service) -> None:
    health = check.json(fresh.get("/health"))
    assert health["model_status"] == "not_loaded"
    assert current(fresh) == current(fresh) | {
        "loaded": False,
        "current_model": None,
        "device": None,
    }
    check.depth_map(depth(fresh))
    assert check.json(fresh.get("/health"))["model_status"] == "loaded"


def test_ready_latches_over_an_unload(fresh: Service) -> None:
    assert check.json(fresh.get("/ready"))["ready"] is True


def test_doing_again_what_is_done_is_a_success(fresh: Service) -> None:
    for path in ("base/unload", "base/download", "ViT-B-16/unload", "ViT-B-16/download"):
        done = check.json(fresh.post(f"/api/models/{path}", headers=EMPTY))
        assert done["success"] is True
        assert done["message"]
    assert check.json(fresh.get("/api/models"))["models"][1]["is_loaded"] is False, "disk only"


def test_embedding_models_can_be_managed_too(fresh: Service) -> None:
    loaded = check.json(fresh.post("/api/models/ViT-B-16/load", json={}))
    assert loaded["current_model"] is None, "it is no depth model"
    states = {each["name"]: each["loaded"] for each in check.json(fresh.get("/health"))["models"]}
    assert states["ViT-B-16"] is True


def test_a_loaded_model_is_loaded_again_in_milliseconds(fresh: Service) -> None:
    check.json(fresh.post("/api/models/large/load"))
    log = fresh.text()
    for _ in range(20):
        check.json(fresh.post("/api/models/large/load", json={}))
    assert fresh.text().count("mapped for") == log.count("mapped for")


def test_loads_at_the_same_time_load_once(fresh: Service) -> None:
    before = fresh.text().count("base (random weights) mapped")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: fresh.post("/api/models/base/load"), range(8)))
    assert all(check.json(answer)["success"] for answer in answers)
    assert fresh.text().count("base (random weights) mapped") == before + 1


def test_delete_removes_the_files_and_nothing_else(fresh: Service) -> None:
    cache = Path(str(fresh.environ["HF_HUB_CACHE"]))
    before = {path.name for path in cache.iterdir()}
    check.json(fresh.post("/api/models/large/load"))
    deleted = check.json(fresh.delete("/api/models/large"))
    assert deleted["success"] is True
    gone = "models--depth-anything--Depth-Anything-V2-Large-hf"
    assert {path.name for path in cache.iterdir()} == before - {gone}
    large = check.json(fresh.get("/api/models"))["models"][2]
    assert (large["is_loaded"], large["is_downloaded"]) == (False, False)
    assert current(fresh)["downloaded_models"] == ["small", "base", "sharp"]
    assert check.json(fresh.delete("/api/models/large"))["success"] is True, "not on disk"
    refused = depth(fresh, "?model=large")
    message = check.error(refused, 503, "Model not initialized")
    assert message == "Depth estimation model is not available"
    reason = refused.json()["reason"]
    assert reason.startswith("its weights are not on disk and cannot be downloaded: ")
    assert "HF_HUB_OFFLINE is set; `python -m app download large --output DIR` on another" in reason
    # HF_HUB_OFFLINE is set: no client need wait for weights that will not come.
    assert "Retry-After" not in refused.headers
    assert refused.json()["code"] == "model_not_on_disk"
    for path in ("large/load", "large/download"):
        failed = fresh.post(f"/api/models/{path}")
        assert "HF_HUB_OFFLINE" in check.error(failed, 500)
        assert failed.json()["success"] is False


@pytest.mark.parametrize("key", ["..", "%2e%2e", "..%2f..", "small%2f..%2f.."])
def test_no_key_leads_out_of_the_cache(fresh: Service, key: str) -> None:
    response = fresh.delete(f"/api/models/{key}")
    assert response.status_code in (400, 404, 405)
    assert check.json(fresh.get("/api/models"))["models"][0]["is_downloaded"] is True


def test_load_and_download_wait_for_the_hub(
    hub: Path, start: Callable[..., Service], tmp_path: Path
) -> None:
    with FakeHub(hub).running() as fake_hub:
        service = start(
            ready=False,
            HF_HUB_CACHE=tmp_path / "cache",
            HF_ENDPOINT=fake_hub.endpoint,
            HF_HUB_OFFLINE=0,
            ENABLED_FAMILIES="depth",
            WARMUP_ON_STARTUP="false",
            ENGINE="torch",  # needs no conversion
            PRECISION="fp32",
        )
        service.wait_for("/ready", 200)
        assert current(service)["downloaded_models"] == ["small", "sharp"]
        assert check.json(service.post("/api/models/base/download", headers=EMPTY))["success"]
        assert current(service) == current(service) | {
            "downloaded_models": ["small", "base", "sharp"],
            "loaded": False,
        }
        loaded = check.json(service.post("/api/models/large/load", json={}))
        assert loaded["current_model"] == "large"
        # The default model is deleted, too, and stays away until a request needs it.
        asked = len(fake_hub.heads)
        check.json(service.delete("/api/models/small"))
        time.sleep(3)  # the workers look for missing default models once a second
        assert current(service)["downloaded_models"] == ["base", "large", "sharp"]
        assert len(fake_hub.heads) == asked
        check.error(depth(service, "?model=small"), 503)
        wait_for(lambda: "small" in current(service)["downloaded_models"], service=service)
        # A request for a model that is not on disk also starts its download.
        with ThreadPoolExecutor(4) as pool:
            deleted = list(pool.map(service.delete, ["/api/models/base"] * 4))
        assert all(check.json(answer)["success"] for answer in deleted)
        check.error(depth(service, "?model=base"), 503)
        wait_for(lambda: "base" in current(service)["downloaded_models"], service=service)
        check.depth_map(depth(service, "?model=base"))
