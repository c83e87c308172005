"""Forecasts with a trained model, the baselines, and the model file."""
