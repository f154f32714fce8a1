"""The Faust apps: thin, no opinions."""
