"""Forecast of cost and duration."""
