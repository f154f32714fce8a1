"""One experiment in one file, for auditors and for replays elsewhere: evidence, conclusions, commands, checkpoints."""

from stoploss.archive.reading import Archive, read_archive

__all__ = ["Archive", "read_archive"]
