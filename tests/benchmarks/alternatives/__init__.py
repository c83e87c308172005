"""What the networks compute, cost and score, side by side: figures and one picture for the README.

python -m tests.benchmarks.alternatives --minutes 3 --output .readme
"""
