"""Real servers, chaos and local platforms: what tests and benchmarks stand on."""
