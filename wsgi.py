# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The WSGI entry point; gunicorn.conf.py names it as ``wsgi_app``."""

from app.blueprints.application import create_app
from config.running import log_warnings, settings_in_force

app = create_app(settings_in_force())
log_warnings()
