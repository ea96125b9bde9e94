"""The HTML report of a reproduction."""
