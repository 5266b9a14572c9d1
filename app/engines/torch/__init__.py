# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""PyTorch: the engine of GPUs, and of CPUs without OpenVINO."""
