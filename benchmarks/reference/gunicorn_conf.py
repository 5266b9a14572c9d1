# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Configures gunicorn for the reference."""

import os

wsgi_app = "benchmarks.reference.app:app"
bind = f"127.0.0.1:{os.environ['IMAGE_EMBEDDER_PORT']}"
workers = 1
worker_class = "gthread"
threads = 80  # every client of the benchmark may wait for the lock
timeout = 600
graceful_timeout = 5
worker_tmp_dir = "/dev/shm"
control_socket_disable = True
