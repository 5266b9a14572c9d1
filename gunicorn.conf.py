# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""How gunicorn runs Twinlens. Each odd line says why it is there."""

import logging
import os
import signal
import sys
from pathlib import Path

# Before torch is imported anywhere: a multi-threaded kernel on the master's main thread would
# hang inference in every forked worker for ever (libgomp). Workers set their threads later.
os.environ["OMP_NUM_THREADS"] = "1"
# CLIP's and transformers' tokenizers would start threads before the fork.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

# gunicorn's own handlers come later; until then these signals would leave things behind.
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
    """Of the server, or of a worker."""
    return server.app.wsgi().extensions["twinlens"]


wsgi_app = "wsgi:app"
_host = _settings.image_embedder_host
bind = sorted(
    f"[{_host}]:{port}" if ":" in _host else f"{_host}:{port}"
    for port in {_settings.ai_service_port, _settings.image_embedder_port}
)
workers = _settings.web_concurrency
# The app is imported, and its models are loaded, once, in the master; workers share the pages.
preload_app = True
# A kind of gthread worker: with sync workers /health would wait behind inference. Each waiting
# request keeps a thread.
worker_class = "app.server.worker.Worker"
threads = request_threads(_settings.image_embedder_concurrency, _settings.image_embedder_max_queue)
# Silent and kept connections, and slow readers, need no thread (app/server/worker.py).
worker_connections = descriptors.connections(descriptors.raise_limit(), threads, threads + 1000)
# Only then does each byte of an answer go through app/server/answers.py.
sendfile = False
# Longer than nginx keeps an idle connection (config/nginx.conf): the side that sends the next
# request must be the one that closes, else a POST meets a connection that is just being closed.
keepalive = 75
# Only of the heartbeat; inferences have a watchdog of their own (app/queueing/waiting_room.py).
timeout = min(120, max(30, _settings.inference_timeout_seconds))
graceful_timeout = _settings.shutdown_timeout_seconds
# The heartbeat file must not sit on a slow or read-only disk.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
# By default a client on this machine, such as a proxy, may set SCRIPT_NAME and PATH_INFO.
forwarder_headers = ""
# gunicorn's control socket deadlocks under preload and needs a writable folder.
control_socket_disable = True
logconfig_dict = logging_dict(_settings)


def on_starting(server):
    # Not where the sockets are there already: from systemd, or from the master before this one.
    if not (server.master_pid or "LISTEN_FDS" in os.environ):
        require_free(server.cfg.address, _settings)
    _runtime(server).warm()
    memory.prepare_fork()


def when_ready(server):
    announce_listening(_settings)

    # gunicorn has no hook before it stops, and to a worker SIGTERM means the same at shutdown,
    # when it must refuse who waits, and at a reload, when it must serve them.
    stop = server.stop

    def announced_stop(graceful=True):
        _runtime(server).announce_stop()
        patience = _runtime(server).settings.shutdown_timeout_seconds
        server.cfg.set("graceful_timeout", patience)
        stop(graceful)

    server.stop = announced_stop
    server.twinlens = Master(server, _runtime(server).shared, _runtime(server).crashes)


def on_reload(server):
    # Under preload gunicorn keeps the app that it has; workers are forked with this one.
    if _settings is not _runtime(server).settings:
        server.app.callable = reloaded(server.app.wsgi(), _settings)
        memory.prepare_fork()
    # Else it would do nothing until the old workers are gone: neither stop nor replace any.
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
    if worker.pid != os.getpid():  # the master has found it gone
        server.twinlens.ended(worker)
        _runtime(server).shared.release(worker.slot)
        return
    ended = _runtime(worker).close()
    reason = sys.exc_info()[1]
    logging.shutdown()
    # Not the usual way: Python would wait for threads that hang or that clients keep busy.
    os._exit(getattr(reason, "code", 0) or 0 if ended else 1)


def child_exit(server, worker):
    server.twinlens.ended(worker)
    _runtime(server).shared.release(worker.slot)


def on_exit(server):
    _runtime(server).close()
