"""The networks that turn a context into future frames."""
