"""Shapes, parameters, multiply-adds and memory of a network, without building it or torch."""
