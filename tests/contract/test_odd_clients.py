# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests unusual requests: odd file names, encodings, data: URIs and addresses."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_from_bytes

import pytest
import requests

from benchmarks.service import Service
from tests.contract import check
from tests.services import PHOTO, nginx_before

JSON = {"Content-Type": "application/json"}
BASE64 = base64.b64encode(PHOTO).decode()


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        (b'name="image"; filename="caf\xe9.jpg"', "depth_caf%C3%A9.png"),
        ('name="image"; filename="café.jpg"'.encode(), "depth_caf%C3%A9.png"),
        (b'name="image"; filename="' + "café.jpg".encode("utf-16-le") + b'"', "depth_caf"),
        (b'name="image"; filename="' + "写真.jpg".encode("shift_jis") + b'"', "depth_"),
        (b"name=image; filename=caf\xe9.jpg", "depth_caf%C3%A9.png"),
        (b"name=image; filename=my photo (1).jpg", "depth_my photo (1).png"),
        (b"name=image; filename=a.jpg", "depth_a.png"),
        (b'name = "image" ; filename = "a.jpg"', "depth_a.png"),
        (b'name="image"; filename="a%0D%0Ab.jpg"', "depth_a%0D%0Ab.png"),
        (b"name=\"image\"; filename*=utf-8''caf%C3%A9.jpg", "depth_caf%C3%A9.png"),
        (b"name=\"image\"; filename*=iso-8859-1''caf%E9.jpg", "depth_caf%C3%A9.png"),
        (b"name=\"image\"; filename*=koi8-r''%C6%CF.jpg", "depth_"),
        (b"name=\"image\"; filename*=utf-16''%FF%FEa%00", "depth_"),
        (b'name="image"; filename==?utf-8?Q?caf=C3=A9?=', "depth_"),
        (b'name="image"; filename="a.jpg', "depth_a.png"),
    ],
)
def test_file_names(demo: Service, parameters: bytes, named: str) -> None:
    body = b"--b\r\nContent-Disposition: form-data; " + parameters + b"\r\n\r\n" + PHOTO
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = demo.post("/api/depth", data=body + b"\r\n--b--\r\n", headers=headers)
    check.depth_map(answer)
    assert named in answer.headers["Content-Disposition"]


def test_no_file_name_is_no_image(demo: Service) -> None:
    for parameters in (b'name="image"; filename=""', b'name="image"', b"name=image; filename="):
        body = b"--b\r\nContent-Disposition: form-data; " + parameters + b"\r\n\r\nabc\r\n--b--\r\n"
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = demo.post("/api/depth", data=body, headers=headers)
        check.error(answer, 400, "No image provided")


def test_json_is_utf8(demo: Service) -> None:
    text = '{"text": "café"}'
    accepted = [
        demo.post("/embed-text", data=text.encode(form), headers=JSON)
        for form in ("utf-8", "utf-8-sig")
    ]
    assert check.json(accepted[0]) == check.json(accepted[1])
    for form in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"):
        refused = demo.post("/embed-text", data=text.encode(form), headers=JSON)
        assert "UTF-8" in check.error(refused, 422)
        refused = demo.post("/v1/embeddings", data=text.encode(form), headers=JSON)
        assert (refused.status_code, "UTF-8" in refused.text) == (400, True)


def test_data_uris(demo: Service) -> None:
    expected = check.json(demo.post("/embed-image", json={"image_base64": BASE64}))["embedding"]
    for uri in (
        f"data:image/png,{quote_from_bytes(PHOTO)}",
        "data:," + "".join(f"%{byte:02x}" for byte in PHOTO),
        f"data:image/png;base64,{quote(BASE64, safe='')}",
        f"DATA:image/png;charset=utf-8; BASE64,{BASE64}",
    ):
        answer = demo.post("/embed-image", json={"image_base64": uri})
        assert check.json(answer)["embedding"] == expected
        answer = demo.post("/v1/embeddings", json={"input": uri, "modality": "image"})
        assert check.json(answer)["data"][0]["embedding"] == expected


@pytest.mark.parametrize("half", [b"\\ud800", b"a\\uDFFFb", b"\\ude00\\ud83d", b"\xed\xa0\x80"])
def test_half_a_character_fails_its_own_item_only(demo: Service, half: bytes) -> None:
    def post(path: str, body: bytes) -> requests.Response:
        return demo.post(path, data=body.replace(b"HALF", half), headers=JSON)

    texts = check.json(post("/embed-text", b'{"texts": ["a cat", "HALF", "a dog"]}'))
    assert [each["status"] for each in texts["results"]] == ["ok", "error", "ok"]
    image = BASE64.encode()
    items = b'{"image_base64": "HALF"}, {"image_url": "http://a/HALF"}, {"image_base64": "%s"}'
    images = check.json(post("/embed-batch", b'{"items": [' + items % image + b"]}"))
    assert [each["status"] for each in images["results"]] == ["error", "error", "ok"]
    found = post("/v1/embeddings", b'{"input": ["a cat", "HALF"]}')
    assert (found.status_code, found.json()["error"]["param"]) == (400, "input")
    assert found.json()["error"]["message"].startswith("input[1]: ")
    check.error(post("/embed-text", b'{"text": "a", "model": "HALF"}'), 400, "Unknown model")
    assert post("/embed-text", b'{"text": "a cat", "HALF": "HALF"}').status_code == 200
    whole = check.json(post("/embed-text", b'{"text": "\\ud83d\\ude00"}'))
    assert (
        whole["embedding"]
        == check.json(post("/embed-text", '{"text": "😀"}'.encode()))["embedding"]
    )


def test_null_means_the_default(demo: Service) -> None:
    names = ("model", "encoding_format", "dimensions", "user", "modality")
    nulls = dict.fromkeys(names)
    assert check.json(demo.post("/v1/embeddings", json={"input": "a cat", **nulls}))["data"]
    null = {"text": "a cat", "normalize": None, "model": None}
    assert check.json(demo.post("/embed-text", json=null))["embedding"]
    nulls = dict.fromkeys(("model", "normalize", "image_size", "image_url"))
    assert check.json(demo.post("/embed-image", json={"image_base64": BASE64, **nulls}))
    path = "/api/models/builtin-depth/load"
    assert check.json(demo.post(path, json={"device": None}))["success"]


def test_one_model_of_openais_list(demo: Service) -> None:
    for model in check.json(demo.get("/v1/models"))["data"]:
        assert check.json(demo.get(f"/v1/models/{model['id']}")) == model
    for unknown in ("gpt-4", "small", "a/b/c", "a%2Fb", "%20", "é", "x" * 2000, "builtin-clip/"):
        answer = demo.get(f"/v1/models/{unknown}")
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "model_not_found"


@pytest.fixture(scope="module")
def proxy(demo: Service, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with nginx_before(demo, tmp_path_factory.mktemp("nginx")) as url:
        yield url


def test_a_doubled_slash_is_one(demo: Service, proxy: str) -> None:
    """A double slash counts as one.

    A client whose base address ends with a slash sends "//api/depth".
    """
    for base in (demo.url(""), proxy):
        for path in ("//health", "///api//models", "//v1/models"):
            answer = requests.get(base + path, timeout=240, allow_redirects=False)
            assert answer.status_code == 200, path
        files = {"image": ("a.png", PHOTO)}
        check.depth_map(requests.post(f"{base}//api/depth", files=files, timeout=240))
        other = requests.get(f"{base}//evil.example", timeout=240, allow_redirects=False)
        assert other.status_code == 404
        answer = requests.get(f"{base}/ui/", timeout=240, allow_redirects=False)
        assert "://" not in answer.headers["Location"]


def ask(service: Service, lines: str, body: bytes = b"") -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", service.embedder_port), 30) as connection:
        connection.sendall(lines.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
        answer = b""
        while b"}" not in answer and (more := connection.recv(65536)):
            answer += more
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


def test_headers_that_servers_believe(demo: Service) -> None:
    for header in ("SCRIPT_NAME: /x", "PATH_INFO: /x", "Script-Name: /x"):
        status, _ = ask(demo, f"GET /models HTTP/1.1\nHost: x\n{header}\nConnection: close")
        assert status == 200
    for coding in ("xchunked", "gzip, xchunked", "chunked, chunked", "identity, chunked"):
        head = f"POST /embed-text HTTP/1.1\nHost: x\nTransfer-Encoding: {coding}"
        status, body = ask(demo, head + "\nContent-Type: application/json", b"0\r\n\r\n")
        assert status == 400 or (status == 422 and coding == "identity, chunked")
        assert set(json.loads(body)) == {"error", "message", "detail", "code"}


def test_origins_with_brackets(tmp_path: Path) -> None:
    service = Service(
        tmp_path / "log",
        HF_HUB_CACHE=tmp_path,
        HF_HUB_OFFLINE=1,
        WARMUP_ON_STARTUP="false",
        CORS_ALLOWED_ORIGINS="http://[::1]:3000,https://a.example",
    )
    with service.started():
        service.wait_for("/health", 200)
        for origin, allowed in (
            ("http://[::1]:3000", True),
            ("https://a.example", True),
            ("http://1:3000", False),
            ("https://aXexample", False),
        ):
            answer = service.get("/health", headers={"Origin": origin})
            found = answer.headers.get("Access-Control-Allow-Origin")
            assert found == (origin if allowed else None)
