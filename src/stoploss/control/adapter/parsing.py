"""An adapter's YAML to an Adapter, and the recipes that ship with stoploss."""

from __future__ import annotations

from pathlib import Path

from stoploss.control.adapter.faults import faults
from stoploss.control.adapter.spec import Adapter
from stoploss.errors import ConfigurationError, InvalidExperiment
from stoploss.spec.file import read_model, violations_at

RECIPES = Path(__file__).parents[1] / "recipes"


def parse_adapter(text: str, name: str = "the adapter") -> Adapter:
    """The adapter of a YAML text; raises InvalidExperiment with all violations at once."""
    model, root = read_model(Adapter, text, name)
    if found := list(faults(model)):
        raise InvalidExperiment(name, violations_at(root, found))
    return model


def recipes() -> dict[str, Path]:
    """The recipes that ship, by name."""
    return {path.stem: path for path in sorted(RECIPES.glob("*.yaml"))}


def find_adapter(named: str) -> tuple[str, str]:
    """Text and name of a file, or of a recipe that ships; raises ConfigurationError where there is neither."""
    path = Path(named)
    if not path.exists() and named in recipes():
        path = recipes()[named]
    try:
        return path.read_text(encoding="utf-8"), str(path)
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(recipes())
        raise ConfigurationError(f"the adapter {named} cannot be read: {error}; recipes that ship: {known}") from None


def read_adapter(named: str) -> Adapter:
    return parse_adapter(*find_adapter(named))
