"""Margin functions and the classifier that uses them."""
