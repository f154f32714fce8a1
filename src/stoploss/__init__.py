"""A stop-loss for GenAI experiments in production."""

__version__ = "0.1.0"
