# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The WSGI entry point: ``gunicorn`` finds it through gunicorn.conf.py."""

from app import create_app
from config.settings import load_settings_or_exit

app = create_app(load_settings_or_exit())
