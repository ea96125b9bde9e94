"""How a synthetic face is built: traits, shapes, relief, light and paint."""
