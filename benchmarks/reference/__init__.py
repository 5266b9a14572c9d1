# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""What the two replaced services do, as one small service to measure against.

Full decode with Pillow, transformers in fp32 with its own preparation, one inference at a time,
Pillow's default PNG, JSON as the standard library writes it. For embeddings there is a second one:
the same network converted to OpenVINO, in bf16 where the CPU has it, one image at a time.
"""
