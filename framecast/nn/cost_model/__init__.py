"""Shapes, parameters, multiplications and memory of a network, without building it. No torch."""
