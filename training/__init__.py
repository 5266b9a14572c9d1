# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""How the built-in models came to be: data that is rendered, and training. Not part of the service.

Reads ``scenes`` (photos with exact depth) -> ``depth``, and ``drawings`` (captioned images) ->
``clip``. ``make train-depth`` and ``make train-clip`` reproduce the checkpoints.
"""
