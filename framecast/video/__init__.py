"""Frames on disk <-> NumPy arrays (T, H, W, C), uint8 or uint16. Knows no torch."""
