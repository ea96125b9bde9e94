"""Evaluation protocols: from the features of a benchmark to the metrics of a record."""
