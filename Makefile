# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
#
# Every target does its own set-up on a machine with Python 3.11 or newer: see app/cli/install.py.
# TORCH_VARIANT=rocm (or xpu, cuda, cpu) chooses a build of torch; else it is that of the hardware.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := .demo/hub
# Other projects' programs that the tests run as clients of the service.
CLIENTS := tests/clients/node_modules/.package-lock.json
FUZZ_EXAMPLES  ?= 10000
FUZZ_MUTATIONS ?= 3000
FUZZ_FILMS     ?= 5000
SOAK_REQUESTS  ?= 6000
CHAOS_SECONDS  ?= 180
RUNS           ?= 10
BENCH_CACHE    ?= .bench/hub
BENCH_OPTIONS  ?=
LOCK_OPTIONS   ?=
IMAGE          ?=

# Python keeps what it compiles. Else each start with torch, of which the tests have hundreds, would
# compile torch and transformers again, which doubles its time.
unexport PYTHONDONTWRITEBYTECODE

# Six parts beside each other, since most tests wait for a service more than they compute.
PROCESS := $(wildcard tests/process/test_[a-m]*.py)
SERVICE := $(filter-out $(PROCESS),$(wildcard tests/process/test_*.py))
ATTACKS := tests/attacks tests/load tests/cluster
BROWSER := tests/console tests/clients
UNIT    := tests/unit
PARTS   := pytest-process pytest-service pytest-attacks pytest-browser pytest-unit pytest-rest

.PHONY: help run demo test $(PARTS) test-under-load fuzz soak cluster chaos bench bench-gpu train-depth train-clip debian lint format lock audit image-check clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/: [^#]*##/:/'

run: $(VENV)/.run          ## the service, with the published weights (downloads them on first use)
	@echo "Starting; the log says when it is ready, and which address to open. Ctrl+C stops it."
	@$(BIN)/python -m app.server

demo: $(VENV)/.run         ## the same service on its own small models: no download, modest answers
	@echo "Starting; the log says when it is ready, and which address to open. Ctrl+C stops it."
	@HF_HUB_CACHE=$(DEMO) HF_HUB_OFFLINE=1 DEPTH_MODEL=builtin-depth DEFAULT_MODEL=builtin-clip $(BIN)/python -m app.server

test:            ## all checks and tests
	$(MAKE) --no-print-directory --jobs=2 $(VENV)/.dev $(CLIENTS)
	folder=$$(mktemp -d) && trap "rm -rf $$folder" EXIT && TEST_CHECKPOINTS=$$folder \
		$(MAKE) --no-print-directory --jobs=7 --output-sync=target lint $(PARTS)

pytest-process: $(VENV)/.dev
	$(BIN)/python -m pytest $(PROCESS)

pytest-service: $(VENV)/.dev
	$(BIN)/python -m pytest $(SERVICE)

pytest-attacks: $(VENV)/.dev
	$(BIN)/python -m pytest $(ATTACKS)

pytest-browser: $(VENV)/.dev
	$(BIN)/python -m pytest $(BROWSER)

pytest-unit: $(VENV)/.dev
	$(BIN)/python -m pytest $(UNIT)

pytest-rest: $(VENV)/.dev
	$(BIN)/python -m pytest $(addprefix --ignore=,tests/process $(ATTACKS) $(BROWSER) $(UNIT))

test-under-load: PROGRAMS += stress-ng:stress-ng
test-under-load: debian    ## all tests ten times (RUNS=10) while every core is busy: none may depend on luck
	@stress-ng --quiet --cpu 0 & trap "kill $$!" EXIT; \
	for run in $$(seq $(RUNS)); do echo "Run $$run of $(RUNS)" && $(MAKE) --no-print-directory test || exit 1; done

fuzz: $(VENV)/.dev         ## a longer look for inputs that break something: minutes, not seconds
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest --timeout=0 tests/unit/test_properties.py
	FUZZ_MUTATIONS=$(FUZZ_MUTATIONS) $(BIN)/python -m pytest --timeout=0 -s tests/attacks/test_mutations.py
	FUZZ_FILMS=$(FUZZ_FILMS) $(BIN)/python -m pytest --timeout=0 -s tests/attacks/test_films.py

soak: $(VENV)/.dev         ## thousands of requests: memory must not grow
	SOAK_REQUESTS=$(SOAK_REQUESTS) $(BIN)/python -m pytest -s tests/load/test_soak.py

cluster: $(VENV)/.dev      ## all tests on a Ray cluster of three machines, which this computer imitates
	CLUSTER=all $(BIN)/python -m pytest tests/cluster

chaos: $(VENV)/.dev        ## workers are killed under load: every answer must be right or a documented error
	CHAOS_SECONDS=$(CHAOS_SECONDS) $(BIN)/python -m pytest -s tests/load/test_chaos.py

bench: $(VENV)/.dev        ## speed, memory and accuracy beside the replaced services: half an hour
	$(BIN)/python -m benchmarks.bench --cache $(BENCH_CACHE) $(BENCH_OPTIONS)

bench-gpu: $(VENV)/.dev    ## the same for a GPU: TFLOP/s against its ceiling, ways to run a network
	$(BIN)/python -m benchmarks.gpu --cache $(BENCH_CACHE) $(BENCH_OPTIONS)

train-depth: $(VENV)/.dev  ## builtin-depth anew, about an hour on 2 cores; then the models' cards
	$(BIN)/python -m training.depth
	$(BIN)/python -m training.evaluate

train-clip: $(VENV)/.dev   ## builtin-clip anew, about an hour on 2 cores; then the models' cards
	$(BIN)/python -m training.clip
	$(BIN)/python -m training.evaluate

# What the tests need beside Python packages, as program:package; of prometheus its promtool.
PROGRAMS := nginx:nginx-light curl:curl node:nodejs npm:npm promtool:prometheus chromium:chromium

debian:
	@for pair in $(PROGRAMS); do \
		command -v $${pair%:*} >/dev/null || missing="$$missing $${pair#*:}"; done; \
	[ -z "$$missing" ] || { SUDO=$$(command -v sudo || true); $$SUDO apt-get update -q && \
		$$SUDO apt-get install -qy --no-install-recommends $$missing; }

$(CLIENTS): tests/clients/package-lock.json | debian
	npm ci --silent --prefix tests/clients --ignore-scripts --no-audit --no-fund
	@touch $@

lint: $(VENV)/.dev         ## style, types, licence headers, Dockerfile
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/reuse lint --quiet || $(BIN)/reuse lint
	$(BIN)/hadolint Dockerfile

format: $(VENV)/.dev       ## put the code into the project's style
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(VENV)/.dev         ## requirements.lock after a change of requirements.txt; LOCK_OPTIONS=--upgrade: newest
	$(BIN)/uv pip compile --quiet $(LOCK_OPTIONS) requirements.txt --output-file requirements.lock

audit: $(VENV)/.dev        ## known weaknesses in what the service is made of (asks the package index)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock
	$(BIN)/pip-audit --strict --disable-pip --no-deps --requirement requirements.txt

image-check:               ## the container image, read-only, on built-in models; IMAGE=name, else it is built
	tests/image/check.sh $(IMAGE)

clean:                     ## remove what the other targets made
	rm -rf $(VENV) tests/clients/node_modules .demo .bench .training .mypy_cache .ruff_cache .pytest_cache

# A build of torch that is asked for by name is installed, also where another one is there already.
$(VENV)/.run: requirements.txt $(if $(TORCH_VARIANT),always)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(PYTHON) -I app/cli/install.py $(VENV) requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt config/requirements-cluster.txt $(VENV)/.run
	@$(PYTHON) -I app/cli/install.py $(VENV) requirements-dev.txt
	@touch $@

.PHONY: always
always:
