"""Seeded traffic with known harm: what the demo runs on, and what the rules are tested against."""
