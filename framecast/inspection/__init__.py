"""Tensor shapes, costs and mistakes of networks, found without building them or importing torch."""
