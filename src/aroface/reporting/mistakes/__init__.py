"""The page of the worst mistakes of a network on a benchmark."""
