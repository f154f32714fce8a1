"""A group whose commands are imported, and built from their signatures, when one of them is asked for.

Click's documented LazyGroup, in Typer's terms: names and short helps come from a table, so `--help` and completion of a
command's name import no command. Building all of them took longer than everything else that `--help` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any, cast

from typer.core import TyperCommand, TyperGroup
from typer.main import get_group_from_info
from typer.models import TyperInfo

from stoploss.cli.contents import COMMANDS, GROUPS

HELPS = {name: said for listed in COMMANDS.values() for name, said in listed.items()} | {
    name: said for name, (_, said) in GROUPS.items()
}
MODULES = {name: module for module, listed in COMMANDS.items() for name in listed} | {
    name: module for name, (module, _) in GROUPS.items()
}


class Commands(Mapping[str, Any]):
    """Name to command; a command of the table is built when it is first looked up."""

    def __init__(self) -> None:
        self._built: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._built:
            group = _group(MODULES[name], name)
            self._built |= {name: group} if name in GROUPS else group.commands
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(HELPS)

    def __len__(self) -> int:
        return len(HELPS)


def _group(module: str, name: str) -> TyperGroup:
    """The commands of a module, built as `app.add_typer` would build them."""
    app = import_module(f"stoploss.cli.{module}").app
    info = TyperInfo(app, name=name)
    return get_group_from_info(info, pretty_exceptions_short=False, suggest_commands=True, rich_markup_mode=None)


class LazyGroup(TyperGroup):
    """What Typer makes of the app. It holds the commands of the table and no others: `add_typer` would be lost."""

    def __init__(self, *, commands: Mapping[str, Any], **attributes: Any) -> None:
        if commands:
            raise TypeError(f"list {', '.join(commands)} in cli/contents.py instead of adding them to the app")
        super().__init__(**attributes)
        self.commands = cast(MutableMapping[str, Any], Commands())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A command's help is printed before the options of all commands are read, which loads pydantic."""
        if args[:1] and args[0] in MODULES and args[1:] == ["--help"]:
            self.commands[args[0]].make_context(args[0], ["--help"], parent=ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The list in `--help`, as TyperGroup writes it, without looking a command up."""
        limit = formatter.width - 6 - max(map(len, HELPS))
        said = [(name, TyperCommand(name=name, help=text).get_short_help_str(limit)) for name, text in HELPS.items()]
        with formatter.section("Commands"):
            formatter.write_dl(said)
