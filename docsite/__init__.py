"""The documents as a site: what mkdocs cannot do by itself. `make docs` builds it into build/site."""
