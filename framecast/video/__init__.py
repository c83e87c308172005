"""Frames on disk <-> NumPy arrays (T, H, W, C), uint8 or uint16. Does not import torch."""
