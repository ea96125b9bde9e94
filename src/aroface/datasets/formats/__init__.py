"""File formats of data sets: detection, reading and checks."""
