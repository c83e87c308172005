"""Training: from clips to a run folder with the best model."""
