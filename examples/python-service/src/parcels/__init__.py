"""A small service that tracks parcels."""

__version__ = "1.0.0"
