"""What the benchmarks of forecasts share: clips cut in time, methods, scores and their proof."""
