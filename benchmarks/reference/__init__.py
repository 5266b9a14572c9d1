# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""A small service that does what the two replaced services did, for comparison with Twinlens.

It decodes photos in full with Pillow, prepares and infers with transformers in fp32, one inference
at a time, and answers with Pillow's default PNG or with JSON from the standard library. A second
variant for embeddings runs the same network converted to OpenVINO, in bf16 where the CPU has it,
one image at a time. A third runs models that transformers' CLIP does not cover with open_clip.
"""
