"""Statistics over seeds: intervals, tests of several rows, and verdicts, from values by seed alone."""
