"""One fault a module, by its number."""
