"""A Confluent-compatible schema registry, as whoever keeps schemas there sees it: subjects, versions, compatibility.

Source: Confluent Schema Registry API, version 7. Matched on status codes alone, for the texts differ by vendor.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from stoploss.errors import ConfigurationError, SchemaRefused
from stoploss.wire.registry_address import RegistryAddress
from stoploss.wire.schemas import JsonSchema

TIMEOUT_S = 30.0
MEDIA_TYPE = "application/vnd.schemaregistry.v1+json"
LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class Subjects:
    """Each call is one request. Raises ConfigurationError where the registry cannot be asked or will not do it."""

    url: RegistryAddress

    def register(self, subject: str, schema: JsonSchema) -> int:
        """The id, new or old; raises SchemaRefused where it does not go with the versions that are there."""
        status, answer = self._ask("POST", f"/subjects/{_part(subject)}/versions", _body(schema))
        if status in (HTTPStatus.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY):
            raise SchemaRefused(_reason(answer))
        return int(self._good(status, answer)["id"])

    def find(self, subject: str, schema: JsonSchema) -> int | None:
        """Its id under this subject; None where it is not there."""
        status, answer = self._ask("POST", f"/subjects/{_part(subject)}", _body(schema))
        return None if status == HTTPStatus.NOT_FOUND else int(self._good(status, answer)["id"])

    def refusals(self, subject: str, schema: JsonSchema) -> list[str]:
        """Why the registry would refuse it beside all versions that are there; none of a subject that is not there."""
        path = f"/compatibility/subjects/{_part(subject)}/versions?verbose=true"
        status, answer = self._ask("POST", path, _body(schema))
        if status == HTTPStatus.NOT_FOUND:
            return []
        said = self._good(status, answer)
        if said.get("is_compatible"):
            return []
        return [str(message)[:LONGEST_REASON] for message in said.get("messages") or ["it gives no reason"]]

    def compatibility(self, subject: str) -> str | None:
        """The level of the subject itself; None where it has none of its own."""
        status, answer = self._ask("GET", f"/config/{_part(subject)}")
        if status == HTTPStatus.NOT_FOUND:
            return None
        said = self._good(status, answer)
        return str(said.get("compatibilityLevel") or said.get("compatibility"))

    def demand(self, subject: str, level: str) -> None:
        """From now on every version must be of this level."""
        self._good(*self._ask("PUT", f"/config/{_part(subject)}", {"compatibility": level}))

    def _good(self, status: int, answer: Any) -> dict[str, Any]:
        if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise ConfigurationError(
                f"the schema registry {self.url} answers {status}: {_reason(answer)}; "
                "set STOPLOSS_SCHEMA_REGISTRY_USER and STOPLOSS_SCHEMA_REGISTRY_PASSWORD_FILE, or "
                "STOPLOSS_SCHEMA_REGISTRY_TOKEN_FILE, of who may do this"
            )
        if status != HTTPStatus.OK or not isinstance(answer, dict):
            raise ConfigurationError(f"the schema registry {self.url} answers {status}: {_reason(answer)}")
        return answer

    def _ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Status, and the answer as JSON, or as text where it is none."""
        data = None if body is None else json.dumps(body).encode()
        request = self.url.request(path, data, method=method, media_type=MEDIA_TYPE)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return answer.status, _parsed(answer.read())
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, _parsed(refused.read())
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "reason", None) or error
            raise ConfigurationError(
                f"the schema registry {self.url} cannot be asked ({why}); start it, or correct STOPLOSS_SCHEMA_REGISTRY"
            ) from error


def _part(subject: str) -> str:
    return quote(subject, safe="")


def _body(schema: JsonSchema) -> dict[str, str]:
    return {"schemaType": "AVRO", "schema": json.dumps(schema)}


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")


def _reason(answer: Any) -> str:
    """What a vendor says, on one line.

    >>> _reason({"error_code": 409, "message": "no default\\nof a field"})
    'no default of a field'
    """
    said = answer.get("message", answer) if isinstance(answer, dict) else answer
    return " ".join(str(said).split())[:LONGEST_REASON] or "it gives no reason"
