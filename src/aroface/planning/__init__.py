"""What a configuration asks for: runs, benchmarks, products, their costs and the time that they take."""
