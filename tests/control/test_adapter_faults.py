"""What is wrong with an adapter is told with its line, its field, its value and the way out."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml

from stoploss.control.adapter.command_names import COMMAND_NAMES, names_of
from stoploss.control.adapter.parsing import parse_adapter, read_adapter, recipes
from stoploss.control.adapter.template import look_up, template
from stoploss.errors import CommandRefused, ConfigurationError, InvalidExperiment

from .orders import order

ADAPTER: dict[str, Any] = {
    "apiVersion": "stoploss/v1alpha1",
    "kind": "Adapter",
    "name": "gateway",
    "requests": [{"method": "POST", "url": "https://gateway.example.com/${flag}", "body": {"share": "${exposure}"}}],
}


def told(**changes: Any) -> str:
    """The violations of the adapter with these changes."""
    with pytest.raises(InvalidExperiment) as refused:
        parse_adapter(yaml.safe_dump({**ADAPTER, **changes}))
    return "; ".join(map(str, refused.value.violations))


def request(**changes: Any) -> list[dict[str, Any]]:
    return [{**ADAPTER["requests"][0], **changes}]


def test_the_smallest_adapter_is_one() -> None:
    assert parse_adapter(yaml.safe_dump(ADAPTER)).name == "gateway"


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"requests": []}, "requests: ", "no command would reach anybody"),
        ({"requests": request(method="TRACE")}, "requests[0].method: ", "'GET'"),
        ({"requests": request(body={"to": "${nobody}"})}, "requests[0].body.to: ", "names 'nobody', which nothing is"),
        ({"requests": request(body={"to": "$nobody"})}, "requests[0].body.to: ", "write ${name} or ${table.name}"),
        ({"requests": request(body={"to": "${flag.upper}"})}, "requests[0].body.to: ", "'flag' is no table"),
        ({"requests": request(body={"${a}": 1})}, "requests[0].body.${a}: ", "names 'a'"),
        ({"requests": request(headers={"X": "${__class__}"})}, "requests[0].headers.X: ", "which nothing is called"),
        ({"requests": request(headers={"X Y": "1"})}, "requests[0].headers.X Y: ", "no name of a header"),
        ({"requests": request(url="ftp://x/${flag}")}, "requests[0].url: ", "no http:// or https://"),
        ({"requests": request(url="${flag}/x")}, "requests[0].url: ", "no http:// or https://"),
        ({"requests": request(method="GET")}, "requests[0].body: ", "a GET has no body"),
        ({"requests": request(body="text")}, "requests[0].body", "valid dictionary"),
        ({"requests": request(when={"treatment": "some"})}, "requests: ", "takes the treatment away on a stop"),
        ({"requests": request(when={"actions": ["halt"]})}, "requests[0].when.actions[0]: ", "'rollback'"),
        ({"requests": request(body={"to": "${ids}"}), "tables": {"ids": {"a": 1}}}, "body.to: ", "write ${ids.flag}"),
        ({"requests": request(body={"to": "${ids.x}"}), "tables": {"ids": {"a": 1}}}, "body.to: ", "looks up 'x'"),
        ({"requests": request(url="https://a/${key}"), "secrets": {"key": {"env": "K"}}}, "url: ", "stand in logs"),
        ({"secrets": {"key": {"env": "K", "file": "/k"}}}, "secrets.key: ", "exactly one"),
        ({"secrets": {"key": {"env": "K"}}}, "secrets.key: ", "used nowhere"),
        ({"variables": {"flag": "x"}}, "variables.flag: ", "has a meaning already"),
        ({"variables": {"a-b": "x"}}, "variables.a-b: ", "is no name"),
        ({"variables": {"project": "x"}}, "variables.project: ", "used nowhere"),
        ({"signature": {"secret": "key"}}, "signature.secret: ", "is no secret of this adapter"),
        ({"stoppedSegments": "passed"}, "stoppedSegments: ", "no request has ${stopped_segments}"),
        ({"requests": request(body={"s": "${stopped_segments}"})}, "stoppedSegments: ", "write passed"),
        ({"retry": {"attempts": 10, "pause": "1s"}}, "retry: ", "at most 60 s are allowed"),
        ({"retry": {"attempts": 0}}, "retry.attempts: ", "greater than or equal to 1"),
        ({"rate": {"requests": 5}}, "rate.per: ", "is required"),
        ({"timeout": "soon"}, "timeout: ", "is no duration"),
        ({"headers": {}}, "headers: ", "is no field"),
        ({"requests": request(body={"flag": {True: 1}})}, "requests[0].body.flag: ", "the key True is no text"),
        ({"requests": request(body={"on": [date(2026, 1, 1)]})}, "requests[0].body.on[0]: ", "write it in quotes"),
        ({"requests": request(body={"a": float("nan")})}, "requests[0].body.a: ", "nan is no value of JSON"),
        ({"tables": {"ids": {"a": {1: "x"}}}}, "tables.ids.a: ", "the key 1 is no text"),
        ({"idempotencyHeader": "a b"}, "idempotencyHeader: ", "no name of a header"),
    ],
)
def test_a_fault_names_field_and_way_out(changes: dict[str, Any], field: str, sentence: str) -> None:
    found = told(**changes)
    assert field in found
    assert sentence in found
    assert "line " in found


def test_a_template_looks_names_up_and_does_nothing_else() -> None:
    names = {"flag": "f", "n": 5, "ids": {"f": "id-1"}}
    assert template("${flag}: ${ids.flag} for $$${n}").text(names) == "f: id-1 for $5"
    assert template("${n}").value(names) == 5
    for attempt in ("${flag.__class__}", "${ids.flag.upper}"):
        with pytest.raises((CommandRefused, KeyError)):
            template(attempt).value(names)


@pytest.mark.parametrize("text", ["${", "${}", "${a b}", "${a()}", "$a", "${a[0]}", "${a.}", "100 $", "${1}"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no place"):
        template(text)


def test_a_list_is_a_value_of_its_own_and_no_text() -> None:
    with pytest.raises(CommandRefused, match="value of its own"):
        template("among ${s}").text({"s": []})


def test_a_place_that_a_table_does_not_know_names_what_it_knows() -> None:
    (place,) = template("${ids.flag}").places
    with pytest.raises(CommandRefused, match="nothing for flag 'g'; known: f; add it to the table"):
        look_up(place, {"flag": "g", "ids": {"f": 1}})


def test_every_name_has_a_value_and_the_two_arms_add_up() -> None:
    for exposure in (0.0, 0.0001, 0.00019, 0.29, 0.5, 1.0):
        names = names_of(order(exposure=exposure), closed=False)
        assert names.keys() == COMMAND_NAMES
        assert names["treatment_per_100000"] + names["control_per_100000"] == 100_000
        assert names["treatment_permille"] + names["control_permille"] == 1_000
        assert names["treatment_percent"] + names["control_percent"] == pytest.approx(100)
        assert names["treatment_share"] == pytest.approx(exposure, abs=1e-5)
        assert names["treatment_permille"] <= exposure * 1_000


def test_where_a_segment_cannot_be_kept_out_every_name_says_control() -> None:
    names = names_of(order(exposure=0.5, release_variant="small"), closed=True)
    said = names["exposure"], names["treatment_share"], names["control_percent"], names["release_variant"]
    assert said == (0, 0, 100, "current")


def test_a_recipe_is_read_by_its_name_and_an_unknown_one_names_those_that_ship() -> None:
    assert read_adapter("growthbook").name == "growthbook"
    with pytest.raises(ConfigurationError, match=f"recipes that ship: {', '.join(recipes())}"):
        read_adapter("optimizely")
