# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Renders the training data of the built-in models and trains them; the service does not use it.

``depth`` trains on ``scenes`` (rendered photos with exact depth), ``clip`` on ``drawings``
(captioned images). ``make train-depth`` and ``make train-clip`` reproduce the checkpoints.
"""
