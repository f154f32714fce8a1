"""The spec of an experiment, in parts, and what is checked of it beyond its form."""
