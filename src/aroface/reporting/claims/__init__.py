"""Claims of the paper, their verdicts, and the comparison of reproduced with reported values."""
