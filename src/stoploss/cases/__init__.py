"""Harm as evaluation cases: traces that were evidence of it, in the formats of those who evaluate offline, and back."""
