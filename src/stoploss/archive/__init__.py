"""One experiment in one file, or one incident of it in one folder of the same form, for auditors and replays elsewhere.

Evidence, conclusions, commands, checkpoints.
"""

from stoploss.archive.reading import Archive, is_pack, read_archive

__all__ = ["Archive", "is_pack", "read_archive"]
