"""People with keys, and the roles of two teams."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from stoploss.governance.identity import Identity
from stoploss.governance.roles import parse_roles
from stoploss.signing import Signer, raw_text

NAMES = ("ada", "olga", "pia", "vic", "carol", "oskar", "ci")
KEYS = {name: Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b".")) for name in NAMES}
SIGNERS = {name: Signer(key) for name, key in KEYS.items()}

ROLES_TEXT = f"""
apiVersion: stoploss/v1alpha1
kind: Roles
people:
{"".join(f"  {name}: {raw_text(key.public_key())}{chr(10)}" for name, key in KEYS.items())}
teams:
  search-team:
    author: [ada, ci]
    operator: [olga]
    viewer: [vic]
    approver: {{product: [pia], privacy: [pia, ada]}}
  other-team:
    author: [vic]
    operator: [oskar]
stewards: [carol]
"""


def identity() -> Identity:
    return Identity(parse_roles(ROLES_TEXT))
