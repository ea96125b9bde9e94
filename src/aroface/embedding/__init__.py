"""A model and a benchmark in, features on disk out."""
