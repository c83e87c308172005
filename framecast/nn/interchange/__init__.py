"""Weights from and to Keras and other projects."""
