# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What a GPU makes of Twinlens, against what the GPU itself can do.

Each part is measured in a process of its own: one that an error of the device has broken takes
only its own figures with it, and no part finds memory or clocks as another has left them.
"""
