# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests that the console has a field for every option of every route, so that none is forgotten."""

from __future__ import annotations

from collections import defaultdict
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl

from app.blueprints.console import _FOLDER
from app.blueprints.openapi import document

_METHODS = {"get", "post", "delete"}
# Routes without a form whose options people choose, and how the page reaches what they do.
_OTHER_ROUTES = {
    "/": "the page itself",
    "/health": "the light in the corner, and the section about the service",
    "/ready": "the light in the corner",
    "/metrics": "for Prometheus",
    "/models": "the box of CLIP models, filled from /api/models",
    "/api/models": "the panel of models, and the form that adds one",
    "/api/models/current": "the list says the same",
    "/api/models/{key}": "the panel of models",
    "/api/models/{key}/load": "the panel; the service chooses the device",
    "/api/models/{key}/unload": "the panel of models",
    "/api/models/{key}/download": "the panel of models",
    "/api/splat/status": "the panel of models has the row of sharp",
    "/api/splat/download": "the panel downloads models",
    "/api/preview": "the page asks for it where a browser cannot show a photo",
    "/api/video/frames": "the card of a film says how many frames there are",
    "/api/jobs/{id}": "the cards of films",
    "/api/jobs/{id}/result": "the cards of films",
    "/embed-image": "search and likeness; the ZIP has the vectors as they are",
    "/embed-batch": "/embed-image for each photo does the same",
    "/embed-text": "search by words",
    "/similarity": "search by words, and Similar: the same cosines, computed in the page",
    "/classify": "labels, of the gallery and of one photo",
    "/admin/cleanup": "a button in the section about the service",
    "/v1/embeddings": "for OpenAI's clients",
    "/v1/models": "for OpenAI's clients",
    "/v1/models/{key}": "for OpenAI's clients",
    "/v2/embed": "for Cohere's clients",
    "/ping": "for Immich",
    "/predict": "for Immich",
}
_MODEL = "a box beside the form chooses it"
# Options that are no field of their form, and why.
_NO_FIELDS = {
    "/api/depth": {
        "image": "the photo that is seen",
        "model": "the box of depth models",
        "normalize": "one box, Numbers, chooses this or unit",
        "unit": "one box, Numbers, chooses this or normalize",
    },
    "/api/splat": {
        "image": "the photo that is seen",
        "format": "the buttons Splats and Mesh, and those to download",
    },
    "/api/video/depth": {
        "video": "the film that was chosen",
        "model": _MODEL,
        "job": "always true: nobody waits for a film with a page open",
    },
    "/api/video/sbs": {
        "video": "the film that was chosen",
        "model": _MODEL,
        "job": "always true: nobody waits for a film with a page open",
        "format": "ImmichVR's names for two values of stereo",
        "batch_size": "without effect",
    },
}
# Fields of a form that are no option themselves, or mean something for one of its routes only.
_NO_OPTIONS = {"numbers"}
# Values that are not offered, and why.
_NO_VALUES = {("/api/depth", "size"): "a number, of which the box offers some"}


class Page(HTMLParser):
    """The fields of the page's forms, by route and name, with the values that each offers."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.files: set[str] = set()
        self._routes: list[str] = []
        self._box = ""
        self._option: str | None = None
        self._is_kind = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See the base class."""
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._routes = given.get("data-route", "").split()
        if tag in ("select", "input"):
            self._box, self._is_kind = given.get("name", ""), given.get("id") == "film-kind"
            for route in self._routes if self._box else ():
                self.fields[route][self._box] |= set()
        if tag == "option":
            self._option = given.get("value")
            self._offer(self._option)

    def handle_data(self, data: str) -> None:
        """See the base class; an option without a value has its text as the value."""
        if self._option is None and self.get_starttag_text() == "<option>" and data.strip():
            self._offer(data.strip())

    def handle_endtag(self, tag: str) -> None:
        """See the base class."""
        if tag == "form":
            self._routes = []
        if tag == "select":
            self._box, self._is_kind = "", False

    def _offer(self, value: str | None) -> None:
        if value is None:
            return
        if self._is_kind:  # the kinds of films are routes with some options
            route, _, query = value.partition("?")
            for name, each in parse_qsl(query):
                self.fields[f"/api/video/{route}"][name].add(each)
        for route in self._routes if self._box else ():
            self.fields[route][self._box].add(value)


def options(operation: dict[str, Any]) -> dict[str, set[str]]:
    """Return the options of a route, each with the values that it names."""
    found = {each["name"]: each["schema"] for each in operation.get("parameters", ())}
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    found |= form["properties"]
    return {name: set(schema.get("enum", ())) - {""} for name, schema in found.items()}


def page() -> Page:
    parsed = Page()
    parsed.feed((_FOLDER / "index.html").read_text())
    return parsed


def test_every_route_is_reached() -> None:
    paths = set(document()["paths"])
    assert paths - _OTHER_ROUTES.keys() - _NO_FIELDS.keys() == set(), "say how the page reaches it"
    assert (_OTHER_ROUTES.keys() | _NO_FIELDS.keys()) - paths == set()
    code = "".join(file.read_text() for file in _FOLDER.glob("*.js"))
    for route in ("/classify", "/embed-text", "/embed-image", "/admin/cleanup", "/api/preview"):
        assert route.removeprefix("/") in code


def test_every_option_has_a_field() -> None:
    fields = page().fields
    assert fields.keys() == _NO_FIELDS.keys()
    for route, reasons in _NO_FIELDS.items():
        (operation,) = document()["paths"][route].values()
        known = options(operation)
        assert known.keys() - fields[route].keys() == reasons.keys(), route
        for name, values in known.items():
            if name not in reasons and (route, name) not in _NO_VALUES:
                assert values - fields[route][name] <= {"false", "true"}, (route, name)


def test_no_field_is_without_an_option() -> None:
    fields = page().fields
    for routes in (["/api/depth"], ["/api/splat"], ["/api/video/depth", "/api/video/sbs"]):
        known = {
            name
            for route in routes
            for operation in document()["paths"][route].values()
            for name in options(operation)
        }
        assert {name for route in routes for name in fields[route]} - known <= _NO_OPTIONS
