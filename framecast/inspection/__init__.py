"""Tensor shapes, costs and mistakes of networks, told without building them. No torch."""
