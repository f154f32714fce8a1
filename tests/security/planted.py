"""Every secret that settings and alerts.yaml can hold, each with a value of its own, so that logs can be searched."""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_from_bytes, urlsplit

from stoploss.control.keys import create_person_keys
from stoploss.settings import Settings

HOLDS_SECRETS = re.compile(r"password|token|_key$|_url$|^alerts_file$")
HOLDS_NONE = {"console_url", "runbook_url"}
"""People are sent there."""

ROUTES = """\
apiVersion: stoploss/v1alpha1
kind: Alerts
routes:
  - {{name: one, alertmanager: "{receiver}/{alertmanager}"}}
  - {{name: two, webhook: "{receiver}/{webhook}"}}
  - {{name: three, pagerduty: {{keyFile: "{pagerduty}", url: "{receiver}"}}}}
  - {{name: four, apprise: "{apprise}"}}
"""


@dataclass
class Planted:
    """
    home      where files of secrets are made
    receiver  address of who is told of alerts, and takes none
    values    by what each is called
    """

    home: Path
    receiver: str
    clickhouse: str
    values: dict[str, str] = field(default_factory=dict)

    def new(self, name: str) -> str:
        return self.values.setdefault(name, secrets.token_hex(16))

    def login(self, user: str, name: str) -> str:
        """As clients send it, in base64."""
        return self.values.setdefault(f"{name}, with its user", f"{user}:{self.new(name)}")

    def file(self, name: str, around: str = "{}") -> Path:
        file = self.home / f"{name.replace(' ', '-')}.secret"
        file.write_text(around.format(self.new(name)) + "\n")
        return file

    def of_everybody(self) -> dict[str, object]:
        """Settings of every process."""
        return {
            "alertmanager_url": f"{self.receiver}/{self.new('alertmanager')}",
            "webhook_url": f"{self.receiver}/{self.new('webhook')}",
            "alerts_file": self._alerts_file(),
            "schema_registry": self.receiver,
            "clickhouse_url": self._clickhouse(self.login("recorder", "clickhouse, in the address")),
            "person_key": self._person_key(),
        }

    def of(self, user: str) -> dict[str, object]:
        """What a user is given otherwise, so that each way to give a secret is gone."""
        self.login("ada", "registry's password")
        ways: dict[str, dict[str, object]] = {
            "intake": {"schema_registry_user": "ada", "schema_registry_password": self.new("registry's password")},
            "joiner": {"schema_registry_token": self.new("registry's token")},
            "resolver": {
                "schema_registry_user": "ada",
                "schema_registry_password_file": self.file("registry's password, in a file"),
                "clickhouse_url": self._clickhouse("resolver"),
                "clickhouse_password_file": self.file("clickhouse, in a file"),
            },
            "otlp": {"schema_registry_token_file": self.file("registry's token, in a file")},
        }
        return ways.get(user, {})

    def _clickhouse(self, login: str) -> str:
        parts = urlsplit(self.clickhouse)
        return f"{parts.scheme}://{login}@{parts.netloc}"

    def _alerts_file(self) -> Path:
        file = self.home / "alerts.yaml"
        text = ROUTES.format(
            receiver=self.receiver,
            alertmanager=self.new("alertmanager of a route"),
            webhook=self.new("webhook of a route"),
            pagerduty=self.file("pagerduty"),
            apprise=self.file("apprise", self.receiver.replace("http://", "json://ada:{}@")),
        )
        file.write_text(text)
        return file

    def _person_key(self) -> Path:
        made = self.home / "people" / "ada.key"
        return made if made.exists() else create_person_keys(made.parent, "ada").private


def written_as(secret: bytes) -> Iterator[bytes]:
    """How a secret may stand in a log: as it is, quoted, in hexadecimal, in base64, as Python shows bytes."""
    yield secret
    yield quote_from_bytes(secret).encode()
    yield secret.hex().encode()
    yield base64.b64encode(secret)
    yield base64.urlsafe_b64encode(secret).rstrip(b"=")
    yield repr(secret)[2:-1].encode()


def of_keys(folder: Path) -> dict[str, bytes]:
    """The private part of every key below a folder: of PEM what stands between its lines, else the whole file."""
    return {path.name: _private(path.read_bytes()) for path in sorted(folder.rglob("*.key"))}


def _private(held: bytes) -> bytes:
    lines = held.splitlines()
    return lines[1] if held.startswith(b"-----") else held


def that_hold_secrets() -> set[str]:
    """The settings that do."""
    return {name for name in Settings.model_fields if HOLDS_SECRETS.search(name)} - HOLDS_NONE
