# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that a running service keeps to its OpenAPI document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from app.blueprints.openapi import document
from benchmarks.service import Service
from tests.contract import check

OPERATIONS = [
    (path, method.upper()) for path, item in document()["paths"].items() for method in item
]
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


@pytest.fixture(scope="module")
def victim(start: Callable[..., Service]) -> Service:
    """Start a service on a throw-away copy of the cache, because the test deletes models."""
    return start()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_odd_questions_get_documented_answers(victim: Service, path: str, method: str) -> None:
    schema = schemathesis.openapi.from_dict(document())
    operation = schema[path][method]

    @settings(
        max_examples=8,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=st.one_of(operation.as_strategy(), operation.as_strategy(generation_mode=NEGATIVE)))
    def ask(case: schemathesis.Case[Any]) -> None:
        base = victim.url("").rstrip("/")
        with requests.Session() as session:
            response = case.call(base_url=base, session=session, timeout=240)
        case.validate_response(response, checks=CHECKS)
        if response.status_code == 500:
            assert response.json()["success"] is False, "only operations on models may fail so"

    ask()


NEGATIVE = schemathesis.GenerationMode.NEGATIVE


def test_the_page_for_people_asks_no_other_host(service: Service) -> None:
    page = service.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "http" not in page.text.replace("http-equiv", "")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    for asset in ("swagger-ui.css", "swagger-ui.js", "start.js"):
        assert f'"docs/{asset}"' in page.text
        assert service.get(f"/docs/{asset}").status_code == 200
    check.error(service.get("/docs/other.js"), 404)


def test_the_document_names_every_route(service: Service) -> None:
    served = check.json(requests.get(service.url("/openapi.json"), timeout=240))
    assert served["openapi"].startswith("3.1")
    assert set(served["paths"]) >= {
        "/api/depth",
        "/embed-image",
        "/embed-batch",
        "/api/models/{key}",
    }
