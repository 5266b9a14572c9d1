# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests properties of the decoder and the parsers with random input; `make fuzz` tries more."""

from __future__ import annotations

import base64
import io
import os
import re
from contextlib import suppress
from urllib.parse import quote, quote_from_bytes

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.blueprints.depth import attachment
from app.blueprints.schemas import EmbedBatchRequest, EmbedRequest
from app.errors import BadRequest, TooLarge
from app.models.depth_anything import MAX_TOKENS, PATCH, input_size
from app.models.depth_family import MAX_ASPECT
from app.pictures import decode as images
from app.remote.addresses import is_allowed
from app.remote.fetch import Fetcher
from app.rendering.options import DepthOptions
from app.server.inline_images import decode_image
from tests.attacks.mutations import originals

settings.register_profile(
    "here",
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
settings.load_profile("here")
ORIGINALS = originals()


def assert_decodes_or_refuses(data: bytes) -> None:
    try:
        picture = images.decode(io.BytesIO(data), 1_000_000)
    except (BadRequest, TooLarge):
        return
    assert picture.image.mode == "RGB"
    assert picture.image.size == picture.size
    assert picture.size[0] * picture.size[1] <= 1_000_000


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    assert_decodes_or_refuses(data)


@given(st.sampled_from(ORIGINALS), st.binary(min_size=1, max_size=12), st.data())
def test_any_bytes_anywhere_in_a_good_file(
    original: bytes, patch: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(original)))
    assert_decodes_or_refuses(original[:place] + patch + original[place + len(patch) :])


@given(st.sampled_from(ORIGINALS), st.data())
def test_any_beginning_of_a_good_file(original: bytes, data: st.DataObject) -> None:
    assert_decodes_or_refuses(original[: data.draw(st.integers(0, len(original)))])


def inline(text: str) -> bytes:
    with decode_image(text, 1000) as file:
        return file.read()


@given(st.text(max_size=300))
def test_base64_of_any_text(text: str) -> None:
    with suppress(BadRequest):
        assert inline(text)


@given(st.binary(min_size=1, max_size=500), st.booleans(), st.booleans(), st.booleans())
def test_base64_in_every_spelling(data: bytes, url: bool, padded: bool, broken: bool) -> None:
    text = (base64.urlsafe_b64encode(data) if url else base64.b64encode(data)).decode()
    text = text if padded else text.rstrip("=")
    text = re.sub("(.{20})", "\\1\r\n ", text) if broken else text
    assert inline(text) == data
    assert inline(f"data:image/png;base64,{text}") == data
    escaped = quote_from_bytes(data)
    assert inline(f"data:image/png,{escaped}") == data
    assert inline(f"data:image/png;base64,{quote(text)}") == data


@given(st.text(max_size=300))
def test_a_file_name_never_leaves_its_header(name: str) -> None:
    value = attachment(name, DepthOptions())
    assert re.fullmatch(r"[\x20-\x7e]+", value)
    assert value.count('"') == 2


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=20))
@pytest.mark.parametrize("shape", [EmbedRequest, EmbedBatchRequest])
def test_any_json(shape: type[EmbedRequest], value: object) -> None:
    for body in (value, {"items": value}, {"image_base64": value}, {"image_size": value}):
        with suppress(ValidationError):
            shape.model_validate(body)


@given(st.integers(1, 200_000), st.integers(1, 200_000))
def test_every_photo_has_an_input_size(width: int, height: int) -> None:
    if max(width, height) > MAX_ASPECT * min(width, height):
        with pytest.raises(TooLarge):
            input_size(width, height)
        return
    columns, rows = (side // PATCH for side in input_size(width, height))
    assert columns >= 1
    assert rows >= 1
    assert columns * rows <= MAX_TOKENS


@given(st.ip_addresses())
def test_every_address_is_judged(address: object) -> None:
    assume(not getattr(address, "is_global", False))
    assert not is_allowed(str(address), ())


@given(st.text(max_size=100))
def test_any_url_is_refused_or_fails_without_a_name_server(text: str) -> None:
    def nobody(*_: object) -> list[str]:
        raise OSError

    fetcher = Fetcher(
        enabled=True, hosts=(), private_networks=(), max_bytes=10, seconds=600, resolver=nobody
    )
    for url in (text, f"http://{text}", f"https://example.org/{text}"):
        with pytest.raises(Exception) as error:  # noqa: PT011 - its status is what counts
            fetcher.fetch(url)
        assert getattr(error.value, "status", 500) in (400, 502)
