"""Calibration: the judge's own step on recorded requests, to count its false stops and to time its true ones."""
