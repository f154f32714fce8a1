"""A review as one file: it says what the Markdown says, fetches nothing, and what a sender wrote stays text."""

from __future__ import annotations

import json
import re

import pytest

from stoploss.review.html import html, parts, plotly_path
from stoploss.review.pictures import Points
from stoploss.store.picture_reads import SaidPoint
from tests.review.rows import GUARDED, at, entry, experiment, finding, issued, verdict
from tests.review.test_document import reviewed
from tests.review.test_markdown import HOSTILE

POINTS = Points([SaidPoint(at(0), "guardrail[0]", "latency_ms", 1.0, 4.6, 0.05, -0.1, None, 0.15)])


def tenants(name: str) -> list[object]:
    segment = {"segment_dimension": "tenant", "segment_value": name}
    return [verdict(), verdict(**segment), verdict(**segment, rule="guardrail[1]", metric="helpfulness", margin=0.02)]


def test_it_has_the_template_and_each_section_with_its_pictures() -> None:
    """X8"""
    timeline = [issued(1, "c-0", "set_exposure"), entry("epoch_opened", 2, {"epoch": 1, "exposure": 0.5})]
    title, template, sections = parts(reviewed(timeline=timeline, verdicts=tenants("acme"), points=POINTS))
    shown = {section.title: [one.key for one in section.drawings] for section in sections}
    assert (title, template[0].label) == ("Experiment review: checkout", "Hypothesis")
    assert shown["Exposure over time"] == ["exposure"]
    assert shown["Guardrails"] == ["effect-0"]
    assert shown["Segments"] == ["forest-0", "forest-1"]
    assert list(shown)[-1] == "To reproduce it"
    assert len({section.anchor for section in sections}) == len(sections)


@pytest.fixture(scope="module")
def file() -> str:
    found = finding(1, segment_dimension="tenant", segment_value=HOSTILE, sentence=f"</script>{HOSTILE}")
    return html(reviewed(verdicts=tenants(f"</script>{HOSTILE}"), timeline=[found, issued(2)], points=POINTS))


def own(file: str) -> str:
    """Without plotly's own script."""
    return file.replace(plotly_path().read_text(encoding="utf-8"), "")


def test_it_fetches_nothing(file: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)""", own(file))
    assert "default-src 'none'" in file
    assert "Plotly" in file


def test_what_a_sender_wrote_stays_text(file: str) -> None:
    assert "<script>alert(1)" not in own(file)
    data = re.search(r'<script type="application/json" id="drawings">(.*?)</script>', file, re.DOTALL)
    assert data is not None
    labels = [row["label"] for one in json.loads(data[1]) if one["kind"] == "forest" for row in one["rows"]]
    assert f"tenant=</script>{HOSTILE}" in labels


def test_without_pictures_no_script_is_in_it() -> None:
    assert "<script" not in html(reviewed(experiment(GUARDED)))
