"""Scores of a model and of the baselines on the same held-out windows."""
