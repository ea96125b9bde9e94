"""Construction of a synthetic face: traits, shapes, relief, light and paint."""
