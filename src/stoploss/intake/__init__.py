"""Intake's pure core: bytes in; evidence rows, a masked frame for storage, and dead letters out. No clock, no I/O."""
