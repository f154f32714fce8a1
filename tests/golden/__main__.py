"""`python -m tests.golden` writes the golden journals anew; with `--ledgers`, the ledgers first, from their stories.

A ledger stays as it is for years: it is the recorded past that a new version must explain. Only a new story needs one.
"""

from __future__ import annotations

import sys

from tests.golden.files import Golden, difference, is_unannounced, journal_file, judged, ledger_file, packed
from tests.golden.stories import STORIES

UNANNOUNCED = """{name}: the rules conclude something else, and no version says so. Raise the `version` of the rule that
you changed, so that a replay can tell which version judged what; then run this again."""


def main() -> None:
    for name, story in STORIES.items():
        if "--ledgers" in sys.argv[1:] or not ledger_file(name).exists():
            ledger_file(name).write_bytes(packed(story().entries))
            journal_file(name).unlink(missing_ok=True)
        _write_journal(name)


def _write_journal(name: str) -> None:
    now = judged(name)
    if not journal_file(name).exists():
        now.write(name)
        print(f"{name}: new, {len(now.entries)} entries")  # noqa: T201
        return
    before = Golden.read(name)
    if is_unannounced(before, now):
        sys.exit(f"{difference(before, now, name)}\n{UNANNOUNCED.format(name=name)}")
    now.write(name)
    print(difference(before, now, name) or f"{name}: the same")  # noqa: T201


if __name__ == "__main__":
    main()
