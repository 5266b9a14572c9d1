# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT

FROM python:3.11-slim-bookworm AS build
RUN python -m venv /venv
COPY requirements.txt .
RUN /venv/bin/pip install --no-cache-dir --requirement requirements.txt

FROM python:3.11-slim-bookworm
RUN useradd --create-home --uid 1000 twinlens \
    && install --directory --owner twinlens /models
COPY --from=build /venv /venv
WORKDIR /srv
COPY app app
COPY config config
COPY gunicorn.conf.py wsgi.py LICENSE ./
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_CACHE=/models
USER twinlens
# Checkpoints, in the hub's cache layout.
VOLUME /models
EXPOSE 5000 8000
# start-period: a first start may download checkpoints, but /health answers before that ends.
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('IMAGE_EMBEDDER_PORT', '8000') + '/health', timeout=4)"]
# gunicorn is the process: it takes the signals, forks the workers and reaps them.
CMD ["gunicorn"]
