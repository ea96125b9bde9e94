"""The differentiable warp and the alignment adversary that drives it."""
