"""Pochade: an image studio in the browser for artists."""

__version__ = "0.1.0"
