"""Figures as PDF, PNG and LaTeX."""
