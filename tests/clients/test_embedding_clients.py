# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Tests /v1 with the packages that programs reach OpenAI's embeddings through.

Each runs in a process of its own, because they warn, and import much. ``openai`` for Python has
tests/contract/test_openai_client.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from benchmarks.service import Service
from tests.clients.conftest import HERE

pytestmark = pytest.mark.timeout(600)

TEXTS = ["a photo of a cat", "a mountain lake at dawn"]
MODEL = "ViT-L-14"
# Each reads texts from stdin, and prints a JSON object with their vectors.
SCRIPTS = {
    "litellm": """
import json, sys, litellm
base, model = sys.argv[1:]
texts = json.load(sys.stdin)
ask = {"model": f"openai/{model}", "input": texts, "api_base": base, "api_key": "none"}
vectors = [each["embedding"] for each in litellm.embedding(**ask).data]
numbers = [each["embedding"] for each in litellm.embedding(**ask, encoding_format="float").data]
print(json.dumps({"vectors": vectors, "numbers": numbers}))
""",
    "langchain": """
import json, sys
from langchain_openai import OpenAIEmbeddings
base, model = sys.argv[1:]
texts = json.load(sys.stdin)
ask = {"model": model, "base_url": base, "api_key": "none", "max_retries": 0}
embeddings = OpenAIEmbeddings(**ask, check_embedding_ctx_length=False)
vectors = embeddings.embed_documents(texts)
print(json.dumps({"vectors": vectors, "numbers": [embeddings.embed_query(one) for one in texts]}))
""",
    "llama-index": """
import json, sys
from llama_index.embeddings.openai import OpenAIEmbedding
base, model = sys.argv[1:]
texts = json.load(sys.stdin)
embedding = OpenAIEmbedding(model_name=model, api_base=base, api_key="none", max_retries=0)
vectors = embedding.get_text_embedding_batch(texts)
numbers = [embedding.get_query_embedding(text) for text in texts]
print(json.dumps({"vectors": vectors, "numbers": numbers}))
""",
}


def run(command: list[str], service: Service) -> subprocess.Popen[str]:
    environ = os.environ | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it asks a host on the internet
        # Nothing else is reached: a package that tries fails here.
        "HTTPS_PROXY": "http://127.0.0.1:9",
        "HTTP_PROXY": "http://127.0.0.1:9",
        "NO_PROXY": "127.0.0.1",
    }
    started = subprocess.Popen(
        [*command, service.url("/v1"), MODEL],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=HERE,
        env=environ,
    )
    assert started.stdin is not None
    started.stdin.write(json.dumps(TEXTS))
    started.stdin.close()
    started.stdin = None
    return started


def test_packages_get_the_vectors_of_embed_text(service: Service) -> None:
    answer = service.post("/embed-text", json={"texts": TEXTS}).json()
    expected = np.array([each["embedding"] for each in answer["results"]], np.float32)
    running = {name: run([sys.executable, "-c", code], service) for name, code in SCRIPTS.items()}
    running["node"] = run(["node", "embed.mjs"], service)
    outputs = {name: process.communicate(timeout=300) for name, process in running.items()}
    found: dict[str, Any] = {}
    for name, (output, errors) in outputs.items():
        assert running[name].returncode == 0, f"{name}: {errors}"
        found[name] = json.loads(output.strip().splitlines()[-1])
        for key in ("vectors", "numbers"):
            # Clients that read base64 get each number to the last bit.
            np.testing.assert_array_equal(np.array(found[name][key], np.float32), expected, name)
    assert found["node"]["id"] == MODEL
    refused = found["node"]["refused"]
    assert (refused["status"], refused["param"]) == (400, "dimensions")
    assert refused["code"] == "invalid_option"
    assert "cannot be shortened" in refused["reason"]


def test_arrays_of_tokens_are_told_what_to_do(service: Service) -> None:
    """LangChain's OpenAIEmbeddings sends them unless it is told not to."""
    answer = service.post("/v1/embeddings", json={"model": MODEL, "input": [[320, 1125]]})
    assert answer.status_code == 400
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


def test_what_clients_leave_null(service: Service) -> None:
    body = {"model": MODEL, "input": TEXTS[0], "encoding_format": None, "dimensions": None}
    answer = service.post("/v1/embeddings", json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["data"][0]["embedding"]) == 768
