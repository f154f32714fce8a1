"""Log lines of every program: one line of key=value per event, on stderr. Stdout belongs to the answer."""

from __future__ import annotations

import logging
import sys

import structlog


def to_stderr(level: str) -> None:
    """Level by name; events below it are not written."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"], sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        # Asked anew for every event: stderr may be another one by then.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
