"""The compressions of ClickHouse's HTTP interface: gzip, deflate, zstd, lz4. Brotli is refused in words."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Protocol

import lz4.frame  # type: ignore[import-untyped]
import zstandard

ZSTD_LEVEL = 1
ZLIB_LEVEL = 3
GZIP_WINDOW = 31


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


_DECOMPRESSORS: dict[str, Callable[[], _Decompressor]] = {
    "lz4": lz4.frame.LZ4FrameDecompressor,
    "zstd": lambda: zstandard.ZstdDecompressor().decompressobj(),
    "gzip": lambda: zlib.decompressobj(GZIP_WINDOW),
    "deflate": zlib.decompressobj,
}


def _gzip(data: bytes) -> bytes:
    stream = zlib.compressobj(ZLIB_LEVEL, zlib.DEFLATED, GZIP_WINDOW)
    return stream.compress(data) + stream.flush()


_COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "lz4": lz4.frame.compress,
    "zstd": lambda data: zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data),
    "gzip": _gzip,
    "deflate": lambda data: zlib.compress(data, ZLIB_LEVEL),
}
ENCODINGS = tuple(_COMPRESSORS)


class CompressionError(Exception):
    """A body that is not in the compression its Content-Encoding names."""


class BodyDecoder:
    """Bytes of a request body in, plain bytes out. A body may be several frames in a row, as clickhouse_connect
    sends one per block.

    encoding  "" or "identity", or one of ENCODINGS; CompressionError otherwise
    """

    def __init__(self, encoding: str) -> None:
        if encoding not in ("", "identity", *ENCODINGS):
            raise CompressionError(
                f"the embedded ClickHouse does not read Content-Encoding {encoding!r}; "
                f"send {', '.join(ENCODINGS)} or none"
            )
        self._encoding = encoding
        self._new = _DECOMPRESSORS.get(encoding)
        self._frame: _Decompressor | None = None

    def feed(self, data: bytes) -> bytes:
        if self._new is None:
            return data
        plain = bytearray()
        while data:
            frame = self._frame = self._frame or self._new()
            try:
                plain += frame.decompress(data)
            except (zlib.error, zstandard.ZstdError, RuntimeError) as error:
                raise CompressionError(
                    f"the body is not {self._encoding}, as its Content-Encoding says: {error}"
                ) from error
            data = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame
        return bytes(plain)

    def finish(self) -> None:
        """Raise CompressionError if the body ended within a frame."""
        if self._frame is not None:
            raise CompressionError(f"the {self._encoding} body ends in the middle of a frame")


def choose_encoding(accepted: str) -> str:
    """The encoding to answer in, from an Accept-Encoding header; "" for none."""
    offered = {name.split(";")[0].strip().lower() for name in accepted.split(",")}
    return next((name for name in ENCODINGS if name in offered), "")


def compress(data: bytes, encoding: str) -> bytes:
    return _COMPRESSORS[encoding](data) if encoding else data
