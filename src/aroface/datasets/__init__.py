"""Data sets on disk: training sets, pair files and benchmark trees; their manifests, generation and registry."""
