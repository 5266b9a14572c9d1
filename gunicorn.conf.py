# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Settings and hooks of gunicorn. Each unusual line has a comment that explains it."""

import logging
import os
import signal
import sys
from pathlib import Path

# This must come before the first import of torch: if the master's main thread runs a multi-threaded
# kernel, inference hangs for ever in all forked workers (libgomp). Workers raise the number later.
os.environ["OMP_NUM_THREADS"] = "1"
# Otherwise the tokenizers of CLIP and transformers start threads before the fork.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# gunicorn installs its own signal handlers later. Until then SIGTERM and SIGINT must end the
# process by an exception, so that temporary files are removed, and SIGHUP must not end it.
if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

from app.blueprints.application import reloaded
from app.host import memory
from app.server import descriptors
from app.server.announcement import announce_listening, announce_when_ready
from app.server.master import Master
from app.server.ports import require_free
from config.logging import logging_dict
from config.running import settings_in_force
from config.threads import request_threads

# gunicorn runs this file again at SIGHUP.
_settings = settings_in_force(reload=True)


def _runtime(server):
    """The runtime of the master (``server`` is gunicorn's arbiter) or of a worker."""
    return server.app.wsgi().extensions["twinlens"]


wsgi_app = "wsgi:app"
_host = _settings.image_embedder_host
bind = sorted(
    f"[{_host}]:{port}" if ":" in _host else f"{_host}:{port}"
    for port in {_settings.ai_service_port, _settings.image_embedder_port}
)
workers = _settings.web_concurrency
# The master imports the app and maps the models once; the workers share its memory pages.
preload_app = True
# This is gunicorn's gthread worker with changes, because with sync workers /health would wait until
# an inference is done. Each waiting request holds a thread.
worker_class = "app.server.worker.Worker"
threads = request_threads(
    _settings.image_embedder_concurrency,
    _settings.image_embedder_max_queue,
    _settings.video_concurrency,
)
# Idle connections and clients that read slowly hold no thread (app/server/worker.py), so a worker
# accepts many more connections than it has threads.
worker_connections = descriptors.connections(descriptors.raise_limit(), threads, threads + 1000)
# With sendfile the bytes of an answer would bypass app/server/answers.py.
sendfile = False
# An idle connection is kept for more seconds than nginx keeps it (config/nginx.conf), so that nginx
# closes it. If this side closed it, nginx could send a POST just then, and that request would fail.
keepalive = 75
# Seconds without a heartbeat after which gunicorn kills a worker. It does not limit a request:
# INFERENCE_TIMEOUT_SECONDS does, in app/queueing/waiting_room.py.
timeout = min(120, max(30, _settings.inference_timeout_seconds))
graceful_timeout = _settings.shutdown_timeout_seconds
# The heartbeat file must not be on a slow or read-only disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
# No header may set SCRIPT_NAME or PATH_INFO; by default gunicorn lets clients on this machine, such
# as a proxy, set them.
forwarder_headers = ""
# gunicorn's control socket deadlocks under preload and needs a writable folder.
control_socket_disable = True
logconfig_dict = logging_dict(_settings)


def on_starting(server):
    # Skip this check if the sockets were inherited from systemd or from a previous master.
    if not (server.master_pid or "LISTEN_FDS" in os.environ):
        require_free(server.cfg.address, _settings)
    _runtime(server).warm()
    memory.prepare_fork()


def when_ready(server):
    announce_listening(_settings)

    # Announce a shutdown to the workers before gunicorn sends them SIGTERM. They get the same
    # signal at a reload, but at a shutdown they must refuse queued requests, and at a reload serve
    # them. gunicorn has no hook for this moment, so its method is wrapped.
    stop = server.stop

    def announced_stop(graceful=True):
        _runtime(server).announce_stop()
        patience = _runtime(server).settings.shutdown_timeout_seconds
        server.cfg.set("graceful_timeout", patience)
        stop(graceful)

    server.stop = announced_stop
    server.twinlens = Master(server, _runtime(server).shared, _runtime(server).crashes)


def on_reload(server):
    # With preload_app gunicorn does not import the app again, so new workers get a new app here.
    if _settings is not _runtime(server).settings:
        server.app.callable = reloaded(server.app.wsgi(), _settings)
        memory.prepare_fork()
    # Otherwise the master waits here until the old workers have ended, and meanwhile neither stops
    # nor replaces a worker.
    server.cfg.set("graceful_timeout", 0)


def pre_fork(server, worker):
    worker.slot = _runtime(server).shared.claim()


def post_fork(server, worker):
    _runtime(server).after_fork()


def post_worker_init(worker):
    runtime = _runtime(worker)
    runtime.start()
    marker = runtime.shared.folder / "announced"
    announce_when_ready(runtime.settings, marker, runtime.is_ready, runtime.is_closing)


def worker_int(worker):
    _runtime(worker).stop("The service is shutting down")


def worker_exit(server, worker):
    if worker.pid != os.getpid():  # gunicorn calls this in the master if the worker has vanished
        server.twinlens.ended(worker)
        _runtime(server).shared.release(worker.slot)
        return
    ended = _runtime(worker).close()
    reason = sys.exc_info()[1]
    logging.shutdown()
    # A normal exit of Python would wait for threads that hang or that slow clients keep busy.
    os._exit(getattr(reason, "code", 0) or 0 if ended else 1)


def child_exit(server, worker):
    server.twinlens.ended(worker)
    _runtime(server).shared.release(worker.slot)


def on_exit(server):
    _runtime(server).close()
