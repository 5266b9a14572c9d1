# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Makes random-weight stand-ins for the public checkpoints, in the hub's own cache layout.

The stand-ins have the tensor names, configuration files and (unless tiny) shapes of the public
ones, but their numbers are random. With them, loading, speed, memory and agreement between engines
can be checked without access to the hub. They say nothing about the quality of depth maps or
vectors.

The numbers are chosen so that agreement between two engines means something:

* linear and convolution weights keep the scale of the values that pass through them; query and key
  weights are larger, so that attention is not uniform;
* patch filters, position embeddings and transposed convolutions are smooth, so that a depth map
  varies smoothly over the image instead of being noise;
* the last layer of a depth network is scaled according to its outputs for synthetic pictures, so
  that practically no value is cut off at zero and none lies far outside the range of the others;
* most of the mean output for synthetic pictures is subtracted near the end of the image tower, so
  that different pictures get clearly different vectors.

Trained vision transformers have a few channels with very large values; these weights do not imitate
them, so 8-bit quantisation loses less accuracy with these weights than with real ones.
"""
