"""Clips as windows and batches: what is trained on, what is held out."""
