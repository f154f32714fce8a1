"""Puts a fact on record: a request goes out, and the judge's last word on it comes back."""

from __future__ import annotations

from stoploss import followup
from stoploss.cli import asking
from stoploss.followup import Said
from stoploss.lifecycle import RECORD
from stoploss.settings import Settings


def put_on_record(settings: Settings, experiment: str, said: Said, sentence: str) -> None:
    """Raises RequestRefused with the judge's reason where it is refused.

    sentence  what is said, in words: it stands in the journal, where people read
    """
    asking.send(settings, asking.request_of(RECORD, experiment, sentence, body=followup.written(said)))
