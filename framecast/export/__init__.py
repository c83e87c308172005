"""Models and frames as files for other programs."""
