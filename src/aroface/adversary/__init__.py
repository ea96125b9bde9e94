"""Alignment adversary and the differentiable warp that it drives."""
