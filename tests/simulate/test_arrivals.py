from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from stoploss.errors import ConfigurationError
from stoploss.simulate.arrivals import Arrival, read_arrivals
from stoploss.simulate.assign import Arms, sticky
from stoploss.simulate.traffic import REPLAYED, Traffic

HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
LINES = (
    "2023-11-16 18:15:46.6805900,374,44",
    "2023-11-16 18:15:50.9951690,396,109",
    "2023-11-16 18:15:51.2224670,879,55",
)
ARMS = Arms("e", "c", "t", sticky("e", control="c", treatment="t", exposure=0.5))
REQUEST_LOG = Path(
    os.environ.get(
        "STOPLOSS_REQUEST_LOG", Path(__file__).parents[2].parent / "shared" / "data" / "azure_llm_2023_conv.csv"
    )
)


def log(directory: Path, *lines: str, newline: str = "\n") -> Path:
    path = directory / "log.csv"
    path.write_bytes(newline.join([*lines, ""]).encode())
    return path


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_times_to_the_microsecond_and_tokens_are_read_whatever_ends_a_line(tmp_path: Path, newline: str) -> None:
    arrivals = read_arrivals(log(tmp_path, HEADER, *LINES, newline=newline))
    assert list(arrivals) == [Arrival(0.0, 374, 44), Arrival(4.314579, 396, 109), Arrival(4.541877, 879, 55)]
    assert (arrivals.first_at, len(arrivals), arrivals.duration_s) == (1_700_158_546_680_590, 3, 4.541877)


def test_order_further_columns_a_byte_order_mark_and_a_zone_do_not_matter(tmp_path: Path) -> None:
    shuffled = [
        "\ufeffmodel,GeneratedTokens,ContextTokens,TIMESTAMP",
        "a,55,879,2023-11-16 18:15:51.2224670",
        "b,44,374,2023-11-16 19:15:46.6805900+01:00",
        "c,109,396,2023-11-16T18:15:50.9951690Z",
    ]
    plain = read_arrivals(log(tmp_path, HEADER, *LINES))
    assert read_arrivals(log(tmp_path, *shuffled)) == plain


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2023-11-16 25:00:00.0,1,1", r"log.csv line 3, TIMESTAMP: '2023-11-16 25:00:00.0' is no time"),
        (",1,1", r"log.csv line 3, TIMESTAMP: '' is no time"),
        ("2023-11-16 18:15:46.0,many,1", r"log.csv line 3, ContextTokens: 'many' is no count"),
        ("2023-11-16 18:15:46.0,-1,1", r"log.csv line 3, ContextTokens: '-1' is no count"),
        ("2023-11-16 18:15:46.0,1,1.5", r"log.csv line 3, GeneratedTokens: '1.5' is no count"),
        ("2023-11-16 18:15:46.0,1", r"log.csv line 3, GeneratedTokens: None is no count"),
    ],
)
def test_a_bad_row_is_refused_by_line_and_field(tmp_path: Path, line: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_arrivals(log(tmp_path, HEADER, LINES[0], line, LINES[1]))


def test_a_file_that_is_no_request_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no column ContextTokens, GeneratedTokens; its first line"):
        read_arrivals(log(tmp_path, "TIMESTAMP,tokens", "2023-11-16,5"))
    with pytest.raises(ConfigurationError, match="has no requests"):
        read_arrivals(log(tmp_path, HEADER))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_arrivals(tmp_path / "missing.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_arrivals(tmp_path / "binary.csv")


def test_compressed_time_keeps_the_order_and_the_tokens(tmp_path: Path) -> None:
    arrivals = read_arrivals(log(tmp_path, HEADER, *LINES))
    fast = arrivals.compressed(10).compressed(6)
    assert fast.factor == 60
    assert [a.offset_s for a in fast] == pytest.approx([a.offset_s / 60 for a in arrivals])
    assert [a[1:] for a in fast] == [a[1:] for a in arrivals]
    assert "time compressed 60 times" in fast.label
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(ConfigurationError, match="above 0"):
            arrivals.compressed(factor)


def test_traffic_on_a_log_has_its_times_and_tokens_and_says_so(tmp_path: Path) -> None:
    arrivals = read_arrivals(log(tmp_path, HEADER, *LINES))
    traces = list(Traffic(7, (ARMS,), arrivals=arrivals, starts_at=arrivals.first_at).traces())
    assert [Arrival(s.offset_s, s.trace["input_tokens"], s.trace["output_tokens"]) for s in traces] == list(arrivals)
    assert traces[-1].trace["at"] == arrivals.first_at + 4_541_877
    assert {s.trace["service"] for s in traces} == {REPLAYED}


@pytest.mark.skipif(
    not REQUEST_LOG.exists(), reason="no request log; set STOPLOSS_REQUEST_LOG to the Azure trace's CSV"
)
def test_the_real_request_log_is_read_whole_and_has_the_published_medians() -> None:
    arrivals = read_arrivals(REQUEST_LOG)
    assert len(arrivals) == 19_366
    assert np.median([a.input_tokens for a in arrivals]) == 1_020
    assert np.median([a.output_tokens for a in arrivals]) == 129
    traces = list(Traffic(7, (ARMS,), arrivals=arrivals.compressed(60)).traces())
    assert len({s.trace["trace_id"] for s in traces}) == 19_366
    assert traces[-1].offset_s == pytest.approx(58.36, abs=0.01)
