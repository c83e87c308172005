"""What the benchmarks of forecasts share: clips cut in time, peers, scores and their proof."""
