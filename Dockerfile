# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
#
#   docker build .                                    for CPUs
#   docker build --build-arg TORCH_VARIANT=cuda .     or rocm, xpu: for GPUs
#   docker build --build-arg MODELS="small ViT-L-14" .   with weights inside
#
# More in docs/docker.md.

# amd64 and arm64; OpenVINO's wheel for arm64 needs glibc 2.35, which excludes older releases. A
# release is built from what the tag names on its day, by digest: .github/workflows/release.yml.
ARG BASE=python:3.11-slim-trixie
FROM $BASE AS base

# The two stages with packages do not depend on each other, and neither on our code: each is made
# again, and pulled again, only when its own versions change.
FROM base AS torch
ARG TORCH_VARIANT=cpu
# Another package index than PyTorch's own, such as a mirror.
ARG TORCH_INDEX
# The versions of requirements.txt; a test compares them.
ARG TORCH_VERSION=2.14.1
ARG TORCHVISION_VERSION=0.29.1
# What every build of torch needs beside libraries for its devices is in requirements.lock, too: it
# is taken out again. So are headers and static libraries, which only compilers read.
RUN --mount=type=cache,target=/root/.cache/pip \
    case "$TORCH_VARIANT" in \
        cpu) build=cpu ;; \
        cuda) build=cu130 ;; \
        rocm) build=rocm7.2 ;; \
        xpu) build=xpu ;; \
        *) echo "TORCH_VARIANT=$TORCH_VARIANT: allowed: cpu, cuda, rocm, xpu" >&2; exit 1 ;; \
    esac \
    && python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --only-binary :all: \
        --index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/$build}" \
        "torch==$TORCH_VERSION" "torchvision==$TORCHVISION_VERSION" \
    && python -m pip --python /venv/bin/python uninstall --yes filelock fsspec jinja2 markupsafe \
        mpmath networkx numpy pillow setuptools sympy typing-extensions \
    && rm -r /venv/lib/python3.11/site-packages/torch/include \
    && find /venv -name '*.a' -delete

FROM base AS packages
COPY requirements.lock /
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /venv \
    && python -m pip --python /venv/bin/python install --only-binary :all: --no-deps \
        --require-hashes --requirement /requirements.lock \
    && find /venv -type d -name tests -prune -exec rm -r {} +

FROM base AS service
# Of Intel's GPU driver the half that runs inside a program, which Debian 13 does not have: for the
# xpu variant, and in any other for DEVICE=openvino:GPU. AMD's comes with torch, NVIDIA's from the
# host.
ARG TORCH_VARIANT=cpu
ARG INTEL_DRIVER
# hadolint ignore=DL3008
RUN if [ "$TORCH_VARIANT" = xpu ] || [ -n "$INTEL_DRIVER" ]; then \
        repository=https://repositories.intel.com/gpu \
        && key=/etc/apt/keyrings/intel-graphics.asc \
        && python -c "import sys, urllib.request as r; r.urlretrieve(*sys.argv[1:])" \
            "$repository/intel-graphics.key" "$key" \
        && echo "deb [arch=amd64 signed-by=$key] $repository/ubuntu noble unified" \
            > /etc/apt/sources.list.d/intel-graphics.list \
        && apt-get update -q \
        && apt-get install -qy --no-install-recommends intel-opencl-icd libze-intel-gpu1 libze1 \
        && rm -rf /var/lib/apt/lists/*; \
    fi
# Group 0 may write, too: for clusters that run each container as a user of its own.
RUN useradd --uid 1000 --no-create-home --home-dir /tmp twinlens \
    && install --directory --owner 1000 --group 0 --mode 775 /cache /cache/hub
COPY --from=torch /venv /venv
COPY --from=packages /venv /venv
WORKDIR /srv
COPY app app
COPY config config
COPY gunicorn.conf.py wsgi.py LICENSE ./
# Only /cache, /tmp and /dev/shm are written to; all else may be read-only. What libraries keep in a
# home folder is of no use after a restart; what they keep in a cache folder is.
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 HOME=/tmp XDG_CACHE_HOME=/cache HF_HUB_CACHE=/cache/hub
USER 1000
EXPOSE 5000 8000
# Of /health, which answers while weights are downloaded: not the first download is to be waited
# for, only the start of Python from a slow disk. /ready says whether the default model can work.
HEALTHCHECK --interval=30s --timeout=10s --start-period=120s CMD ["python", "-m", "app.server.alive"]
# It becomes gunicorn, which is PID 1, without an init before it: it takes the signals and reaps its
# workers as well as orphans, such as a conversion whose worker was killed
# (tests/shipping/test_process.py).
CMD ["python", "-m", "app.server"]

# Weights inside, for machines that reach no hub. Nothing is made here unless MODELS names some.
FROM service AS models
ARG MODELS
RUN if [ -n "$MODELS" ]; then python -m app download $MODELS; fi

FROM service
COPY --from=models --chown=1000:0 /cache /cache
