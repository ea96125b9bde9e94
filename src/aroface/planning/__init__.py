"""Plan of a configuration: its runs, benchmarks and products, and the cost and duration of them."""
