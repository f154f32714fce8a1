from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoploss.emit.assignment import Assignment
from stoploss.emit.context import LARGEST_TOKEN, Context, from_token, to_token
from stoploss.emit.errors import Unsendable

texts = st.text(st.characters(codec="utf-8"), max_size=20)
optional = st.none() | texts
assignments = st.builds(
    Assignment,
    experiment=texts,
    variant=texts,
    run=st.none() | st.integers(0, 1_000),
    epoch=st.none() | st.integers(0, 1_000),
    consent=st.none() | st.booleans(),
)
contexts = st.builds(
    Context,
    trace_id=texts,
    unit_id=optional,
    assignments=st.lists(assignments, max_size=3).map(tuple),
    tenant=optional,
    language=optional,
    channel=optional,
    attributes=st.dictionaries(texts, texts, max_size=3),
)


@given(contexts)
def test_a_context_survives_its_token(context: Context) -> None:
    assert from_token(to_token(context)) == context


def test_a_token_is_safe_in_an_address_and_bounded() -> None:
    token = to_token(Context("t" * 32, "ä?ÿ>" * 20, (Assignment("e", "v", 3, 7, True),), "acme", "de", "web"))
    assert set(token) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=")
    with pytest.raises(Unsendable, match="over 4096 characters"):
        to_token(Context("t", attributes={"essay": "x" * LARGEST_TOKEN}))


def token_of(document: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode()


WHOLE = {"v": 1, "t": "trace", "u": "user", "a": [["e", "v", 1, 1, None]], "s": [None, None, None], "x": {}}


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "no token"),
        (None, "no token"),
        (b"bytes", "no token"),
        ("!" * 12, "not base64 of JSON"),
        ("abc", "not base64 of JSON"),
        (token_of("text"), "not version 1"),
        (token_of(WHOLE | {"v": 2}), "not version 1"),
        (token_of({"v": 1}), "fields of another shape"),
        (token_of(WHOLE | {"t": 5}), "fields of another shape"),
        (token_of(WHOLE | {"a": [["e"]]}), "fields of another shape"),
        (token_of(WHOLE | {"a": [[1, 2]]}), "fields of another shape"),
        (token_of(WHOLE | {"s": ["acme"]}), "fields of another shape"),
        (token_of(WHOLE | {"u": 7}), "fields of another shape"),
        ("A" * (LARGEST_TOKEN + 4), "over 4096 characters"),
        (base64.urlsafe_b64encode(b"[" * 3_000).decode(), "not base64 of JSON"),
    ],
)
def test_a_malformed_token_is_refused_with_its_reason(token: Any, reason: str) -> None:
    with pytest.raises(Unsendable, match=reason):
        from_token(token)


def test_a_cut_or_altered_token_never_raises_anything_else() -> None:
    token = to_token(Context("trace", "user", (Assignment("e", "v", 1, 2),), "acme", "de", "web", {"k": "v"}))
    for end in range(len(token)):
        with pytest.raises(Unsendable):
            from_token(token[:end])
