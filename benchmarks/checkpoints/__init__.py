# SPDX-FileCopyrightText: 2026 The Twinlens authors
# SPDX-License-Identifier: MIT
"""Random-weight stand-ins for the public checkpoints, in the hub's own cache layout.

They have the public ones' tensor names, configuration files and (unless tiny) exact shapes, but
random numbers inside, so that loading, speed, memory and agreement between engines can be checked
where no hub can be reached. They say nothing about the quality of a depth map or a vector.

How the numbers are chosen, so that agreement between two engines means something:

* linear and convolution weights keep the scale of what flows through them; query and key weights
  are larger, so that attention is not uniform;
* patch filters, position embeddings and transposed convolutions are smooth, so that a depth map
  varies smoothly over the image instead of being noise;
* the last depth layer is scaled on synthetic pictures, so that practically no value is cut off at
  zero and none lies far outside the rest;
* the last layer norm of the image tower is shifted against its mean over synthetic pictures, so
  that different pictures get clearly different vectors.

What this does not imitate: the few very large channels of trained vision transformers. 8-bit
quantisation looks kinder on these weights than on real ones.
"""
