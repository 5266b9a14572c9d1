# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""The waiting room for requests, and the threads that run their inferences on the device."""
