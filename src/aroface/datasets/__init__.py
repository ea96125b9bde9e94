"""What lies on disk: training sets, pair files, TinyFace; their manifests, generation and registry."""
