"""Heads (margin losses) of face recognition, and the sharded classifier that uses them."""
