"""Backbones (IResNet family, MobileFaceNet) and checkpoint import and export."""
