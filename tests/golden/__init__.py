"""Ledgers that stand still, with the journals that the judge makes of them: a verdict that changes shows here."""
