"""Changes of the code that the tests ought to notice: python -m tests.benchmarks.mutants"""
