"""Bytes to records and frames, and back."""
