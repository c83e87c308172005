"""What the networks compute, cost and score, side by side: tables and a picture.

python -m tests.benchmarks.comparison [--minutes 1] [--output DIR]
"""
