"""What is told of a broken glass: who broke it, and why where they said so. Where they did not, people owe a reason."""

from __future__ import annotations

BROKE = " broke the glass"


def told(person: str, reason: str) -> str:
    """
    >>> told("ada", "it hurts people")
    'ada broke the glass: it hurts people'
    """
    return f"{person}{BROKE}" + (f": {reason}" if reason.strip() else "")


def says_why(text: str) -> bool:
    """Whether a reason came with it; words of another sender are one.

    >>> says_why(told("ada", "it hurts people")), says_why(told("ada", " ")), says_why("it hurts people")
    (True, False, True)
    """
    who, broke, why = text.partition(BROKE)
    return bool((why if broke else who).strip(": "))
