# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests how forms are passed on to another server, and Immich's names."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

import pytest
import yaml
from open_clip.pretrained import get_pretrained_cfg

from app.errors import Busy, ClientGone, RemoteFailed, TooSlow
from app.remote.passing_on import Form, PassingOn
from benchmarks.service import PROJECT, free_port
from config import immich
from config.settings import Settings, SettingsError, load_settings
from tests.stand_in import ANSWER, StandIn


@pytest.fixture
def other() -> Iterator[StandIn]:
    with StandIn() as server:
        yield server
        server.shutdown()


def to(url: str, seconds: float = 60) -> PassingOn:
    return PassingOn(url, "THE_URL", seconds, "THE_SECONDS")


def test_a_form_arrives_as_it_was(other: StandIn) -> None:
    content = bytes(range(256)) * 1000 + b"\r\n--"
    form = Form({"entries": '{"a": "ü"}', "more": ""}, ("image", "blob", io.BytesIO(content)))
    answer = to(f"{other.url}").post("/predict", form)
    assert (answer.body, answer.kind) == (ANSWER, "application/json")
    (received,) = other.received
    assert received.fields == {"entries": '{"a": "ü"}', "more": ""}
    assert received.files == {"image": content}


def test_no_file(other: StandIn) -> None:
    to(other.url).post("/predict", Form({"entries": "{}", "text": "a\r\nb"}, None))
    assert other.received[0].fields["text"] == "a\r\nb"


def test_answers_that_are_no_success_are_quoted(other: StandIn) -> None:
    other.status, other.answer = 500, b'{"detail":\n "no such model"}'
    with pytest.raises(RemoteFailed, match=r'THE_URL\) answered 500: {"detail": "no such model"}'):
        to(other.url).post("/predict", Form({"entries": "{}"}, None))
    with pytest.raises(RemoteFailed, match="answered 404"):
        to(f"{other.url}/below").post("/predict", Form({"entries": "{}"}, None))


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(RemoteFailed, match=r"THE_URL.*cannot be reached"):
        to(f"http://127.0.0.1:{free_port()}").post("/predict", Form({}, None))


def test_a_server_that_does_not_answer(other: StandIn) -> None:
    with pytest.raises(TooSlow, match=r"longer than 0.2 seconds \(THE_SECONDS\)"):
        to(other.url, 0.2).post("/predict", Form({"entries": '"slow"'}, None))
    assert other.hung_up.wait(60)


def test_a_client_that_hangs_up(other: StandIn) -> None:
    def gone() -> None:
        raise ClientGone

    with pytest.raises(ClientGone):
        to(other.url).post("/predict", Form({"entries": '"slow"'}, None), check_cancelled=gone)
    assert other.hung_up.wait(60)


def test_an_answer_counts_for_the_bytes_that_are_held(other: StandIn) -> None:
    def hold(count: int) -> None:
        raise Busy(f"{count} bytes are too many")

    with pytest.raises(Busy, match=f"{len(ANSWER)} bytes"):
        to(other.url).post("/predict", Form({"entries": "{}"}, None), hold=hold)


@pytest.mark.parametrize("name", immich.REPOSITORIES)
def test_names_are_those_of_open_clip(name: str) -> None:
    architecture, tag = name.split("__")
    if "Roberta" in architecture:
        architecture = architecture.lower().replace("-vit-b", "-ViT-B").replace("-vit-h", "-ViT-H")
    found = get_pretrained_cfg(architecture, tag.replace("-", "_"))
    assert found["hf_hub"].rstrip("/") == immich.repositories(name)[0]


def test_names_in_the_recipe_have_rows() -> None:
    recipe = (PROJECT / "docs" / "recipes" / "immich.md").read_text()
    rows = {spec.key: spec for spec in Settings().table().model}
    found = re.findall(r"^\| `(\S+__\S+)`.* \| `(\S+)` \| (.*) \|$", recipe, re.MULTILINE)
    assert len(found) == 5
    for name, key, download in found:
        assert rows[key].hub_id in immich.repositories(name)
        assert rows[key].download == download


def test_the_lines_for_compose_name_settings_that_exist() -> None:
    recipe = (PROJECT / "docs" / "recipes" / "immich.md").read_text()
    lines = recipe.partition("```yaml")[2].partition("```")[0]
    environ = yaml.safe_load(lines)["services"]["twinlens"]["environment"]
    settings = load_settings({name: str(value) for name, value in environ.items()})
    assert {name.lower() for name in environ} <= settings.model_fields_set
    assert settings.immich_ml_url == "http://immich-machine-learning:3003"


@pytest.mark.parametrize("url", ["immich:3003", "http://u:p@immich", "http://immich/?a", "ftp://a"])
def test_addresses_that_are_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"IMMICH_ML_URL=.*allowed: an address such as"):
        load_settings({"IMMICH_ML_URL": url})


def test_how_names_may_be_written() -> None:
    expected = ("timm/vit_base_patch32_clip_224.openai", "openai/clip-vit-base-patch32")
    for name in ("ViT-B-32__openai", "ViT-B-32::openai", "immich-app/vit-b-32__openai"):
        assert immich.repositories(name) == expected
    assert immich.repositories("ViT-B-33__openai") == ()


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("de", "deu_Latn"),
        ("pt-BR", "por_Latn"),
        ("zh_TW", "zho_Hant"),
        ("zh-CN", "zho_Hans"),
        ("nb-NO", "nob_Latn"),
        ("xx", None),
    ],
)
def test_languages(language: str, code: str | None) -> None:
    assert immich.flores(language) == code
