# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Model families: how a checkpoint is read, its input prepared and its output interpreted."""
