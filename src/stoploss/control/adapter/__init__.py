"""One declarative HTTP adapter: what a vendor is asked for each command is said in YAML, not in code."""
