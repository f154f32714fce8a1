"""Settings of an installation: `--set`, then environment variables STOPLOSS_*, then a file, then the defaults.

Each may say some and leave others to the next. The file is `.env` in the working directory, or the one that
STOPLOSS_SETTINGS or `--settings` names.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from stoploss.errors import ConfigurationError
from stoploss.kafka import KafkaAddress, Mechanism, Protocol, Security
from stoploss.topics import Names
from stoploss.wire.registry_address import RegistryAddress, basic, bearer

PREFIX, DEFAULT_FILE = "STOPLOSS_", Path(".env")
FILE_VARIABLE = f"{PREFIX}SETTINGS"
MAY_HOLD_SECRETS = re.compile(r"password|token|^schema_registry$")
"""Settings of which no wrong value is shown."""


class Settings(BaseSettings):
    """Where everything is.

    kafka              bootstrap servers; unset: `stoploss up` and `demo` start the embedded broker
    kafka_protocol     SASL_SSL: user and password over TLS; SSL: TLS alone; PLAINTEXT: neither
    kafka_user         whom the brokers are to know this process as, with kafka_password or kafka_password_file
    kafka_password     as it is; better not in a file that others read
    kafka_password_file  the file whose only line it is
    kafka_mechanism    how the password is proven
    kafka_ca_file      certificates, PEM, of whoever signed the brokers'; unset: those of the system
    clickhouse_url     HTTP address of ClickHouse; unset: the embedded engine
    clickhouse_password_file  password of the user that the address names, where it names none itself
    clickhouse_migrate  the recorder makes the tables; false where its user may only insert: use `stoploss tables`
    clickhouse_database  where the tables are
    home               keys, the embedded parts' data, seats of workers, and the addresses of a running `stoploss up`
    topic_prefix       before every topic name
    installation       name of this installation: part of consumer groups, transactional ids and signatures
    ledger_partitions  of the topics partitioned by experiment; fixed once they exist
    source_partitions  of traces, outcomes and the other topics
    replication        replication factor of topics that stoploss creates
    flagd_file         the flag file that `stoploss up` keeps; unset: flags.json in the home
    alertmanager_url   on-call is told through this Alertmanager
    webhook_url        or by this webhook, in Alertmanager's form
    ack_deadline_ms    a command that nobody has acknowledged for so long is overdue
    checkpoint_every   journal entries of an experiment from one signed checkpoint to the next
    schema_registry    address of a schema registry, for records in Confluent's framing
    schema_registry_user  whom it is to know this process as, with schema_registry_password or its file
    schema_registry_password  as it is; better not in a file that others read
    schema_registry_password_file  the file whose only line it is
    schema_registry_token  bearer token, instead of user and password
    schema_registry_token_file  the file whose only line it is
    canary_every_ms    how often the registrar sends a canary into each partition of the traces; a service's lease time
                       is at least six times as long
    instance_silent_s  an instance of a controller that was silent for so long is not waited for any more, unless it is
                       late with a command: it says every 30 s that it lives
    prices             prices.yaml, what models cost, for traces that come by OpenTelemetry; unset: nothing is priced
    otlp_assignments   span attribute -> experiment whose variant it names, for services that record no flag evaluation
    otlp_attributes    span attributes that are passed on, for segments; all others are left where they are
    otlp_grace_s       how long a whole trace waits for spans of other processes
    alerts_file        alerts.yaml (docs/alerts.md): further receivers, their severities, quiet hours and escalation
    console_url        address at which people open the console, for the links that it prints and those in alerts;
                       unset: alerts have none, and the console prints where it listens
    runbook_url        address at which they read docs/runbook.md, for alerts whose spec names no runbook
    roles_file         who may ask for what (governance/roles.py): registrar, console; unset: everybody for everything
    person_key         private key that requests are signed with; its file is named after the person: ada.key
    health_host        where workers and controllers answer /livez, /readyz and /metrics
    health_port        and its port there; unset: nowhere. Under `up` of the first process, and the next has the next
    console_host       where the console listens; this machine alone
    console_port       and its port there, or the next that is free; 0: any
    log_level          of the roles' log lines
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=DEFAULT_FILE, extra="ignore", frozen=True)

    kafka: str | None = None
    kafka_protocol: Protocol = "PLAINTEXT"
    kafka_user: str | None = None
    kafka_password: SecretStr | None = None
    kafka_password_file: Path | None = None
    kafka_mechanism: Mechanism = "SCRAM-SHA-512"
    kafka_ca_file: Path | None = None
    clickhouse_url: str | None = None
    schema_registry: str | None = Field(None, pattern=r"^https?://")
    schema_registry_user: str | None = Field(None, pattern=r"^[^:]+$")
    schema_registry_password: SecretStr | None = None
    schema_registry_password_file: Path | None = None
    schema_registry_token: SecretStr | None = None
    schema_registry_token_file: Path | None = None
    clickhouse_password_file: Path | None = None
    clickhouse_migrate: bool = True
    clickhouse_database: str = Field("stoploss", pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")
    home: Path = Path(".stoploss")
    topic_prefix: str = "stoploss."
    installation: str = Field("default", pattern=r"^[a-z0-9-]{1,40}$")
    ledger_partitions: int = Field(16, ge=1, le=1_000)
    source_partitions: int = Field(4, ge=1, le=1_000)
    replication: int = Field(1, ge=1, le=7)
    flagd_file: Path | None = None
    alertmanager_url: str | None = None
    webhook_url: str | None = None
    alerts_file: Path | None = None
    console_url: str = Field("", pattern=r"^(https?://\S+)?$")
    runbook_url: str = Field("", pattern=r"^(https?://\S+)?$")
    ack_deadline_ms: int = Field(5_000, ge=100)
    prices: Path | None = None
    otlp_assignments: dict[str, str] = Field(default_factory=dict)
    otlp_attributes: list[str] = Field(default_factory=list)
    otlp_grace_s: float = Field(0.0, ge=0, le=9)
    roles_file: Path | None = None
    person_key: Path | None = None
    checkpoint_every: int = Field(256, ge=1)
    canary_every_ms: int = Field(5_000, ge=100, le=10_000)
    instance_silent_s: float = Field(900.0, ge=60.0)
    health_host: str = "127.0.0.1"
    health_port: int | None = Field(None, ge=0, le=65_535)
    console_host: str = "127.0.0.1"
    console_port: int = Field(8_765, ge=0, le=65_535)
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @property
    def topics(self) -> Names:
        return Names(self.topic_prefix)

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    def need_kafka(self) -> KafkaAddress:
        if not self.kafka:
            raise ConfigurationError(
                "no Kafka address: set STOPLOSS_KAFKA=host:port, or start the embedded one with `stoploss up`"
            )
        return KafkaAddress(self.kafka, self._security())

    def _security(self) -> Security:
        """Raises ConfigurationError where what is set would not be used, or what is needed is missing."""
        password = _secret(self.kafka_password, self.kafka_password_file, "STOPLOSS_KAFKA_PASSWORD")
        if self.kafka_protocol != "SASL_SSL":
            if self.kafka_user or password:
                raise ConfigurationError(
                    f"STOPLOSS_KAFKA_USER and its password are not used with {self.kafka_protocol}; set "
                    "STOPLOSS_KAFKA_PROTOCOL=SASL_SSL"
                )
            return Security(self.kafka_protocol, self.kafka_ca_file)
        if not self.kafka_user or not password:
            raise ConfigurationError(
                "STOPLOSS_KAFKA_PROTOCOL=SASL_SSL needs STOPLOSS_KAFKA_USER and STOPLOSS_KAFKA_PASSWORD_FILE "
                "(or STOPLOSS_KAFKA_PASSWORD)"
            )
        return Security(self.kafka_protocol, self.kafka_ca_file, self.kafka_user, password, self.kafka_mechanism)

    def registry(self) -> RegistryAddress | None:
        """Of the schema registry; None: there is none. Raises ConfigurationError where a login would not be used."""
        name = variable("schema_registry")
        user = self.schema_registry_user
        password = _secret(self.schema_registry_password, self.schema_registry_password_file, f"{name}_PASSWORD")
        token = _secret(self.schema_registry_token, self.schema_registry_token_file, f"{name}_TOKEN")
        if bool(user) != bool(password):
            raise ConfigurationError(f"{name}_USER and {name}_PASSWORD_FILE (or {name}_PASSWORD) belong together")
        if user and token:
            raise ConfigurationError(f"{name}_USER and {name}_TOKEN are both set; keep one of them")
        if self.schema_registry is None:
            if user or token:
                raise ConfigurationError(f"a login without {name} is not used; set the address, or unset the login")
            return None
        if urlsplit(self.schema_registry).username:
            raise ConfigurationError(f"{name} holds a user; say it in {name}_USER and {name}_PASSWORD_FILE")
        authorization = basic(user, password) if user else bearer(token) if token else ""
        return RegistryAddress(self.schema_registry, authorization)

    def need_clickhouse(self) -> str:
        if not self.clickhouse_url:
            raise ConfigurationError(
                "no ClickHouse address: set STOPLOSS_CLICKHOUSE_URL=http://host:8123, "
                "or start the embedded one with `stoploss up`"
            )
        if self.clickhouse_password_file is None:
            return self.clickhouse_url
        return with_password(self.clickhouse_url, read_secret(self.clickhouse_password_file))


def _secret(value: SecretStr | None, file: Path | None, name: str) -> str:
    """From the environment or from a file; empty where neither is set."""
    if value is not None and file is not None:
        raise ConfigurationError(f"{name} and {name}_FILE are both set; keep one of them")
    if file is not None:
        return read_secret(file)
    return value.get_secret_value() if value is not None else ""


def read_secret(file: Path) -> str:
    """A file's only line: editors end it with a line break. Raises ConfigurationError where there is none."""
    try:
        secret = file.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the secret in {file} cannot be read: {error}") from None
    if not secret:
        raise ConfigurationError(f"the file {file} holds no secret; write it there, or unset it")
    return secret


def with_password(url: str, password: str) -> str:
    """The address with the password of its user, where it has none.

    >>> with_password("http://recorder@host:8123", "p@ss")
    'http://recorder:p%40ss@host:8123'
    """
    parts = urlsplit(url)
    if not parts.username or parts.password:
        raise ConfigurationError(
            "STOPLOSS_CLICKHOUSE_PASSWORD_FILE wants an address that names a user and no password: http://USER@HOST:8123"
        )
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def without_secrets(url: str) -> str:
    """The address as it may be shown.

    >>> without_secrets("https://recorder:p%40ss@host:8443")
    'https://host:8443'
    """
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def load(**overrides: object) -> Settings:
    """Settings from all sources; a wrong one is named, with what it should be."""
    known = {name: value for name, value in overrides.items() if value is not None}
    file = settings_file()
    in_file(file)
    try:
        return Settings(_env_file=file, **known)  # type: ignore[arg-type]
    except ValidationError as error:
        raise ConfigurationError(f"settings are wrong: {'; '.join(map(_told, error.errors()))}") from None


def _told(fault: ErrorDetails) -> str:
    """The setting, what is wrong with it, and its value where that holds no secret."""
    name = "_".join(map(str, fault["loc"]))
    given = "" if MAY_HOLD_SECRETS.search(name) else f" (given: {fault.get('input')!r})"
    return f"{variable(name)}: {fault['msg']}{given}"


def variable(name: str) -> str:
    """
    >>> variable("kafka_user")
    'STOPLOSS_KAFKA_USER'
    """
    return f"{PREFIX}{name.upper()}"


def settings_file() -> Path:
    """The file that settings are read from, whether it is there or not; raises ConfigurationError where it was asked
    for by name and is not."""
    asked = os.environ.get(FILE_VARIABLE)
    if not asked:
        return DEFAULT_FILE
    if not Path(asked).is_file():
        raise ConfigurationError(f"there is no file of settings {asked}; correct --settings or {FILE_VARIABLE}")
    return Path(asked)


def in_file(file: Path) -> dict[str, str]:
    """Names of the settings that the file sets, with their values; raises ConfigurationError for one unknown.

    Lines that do not begin with STOPLOSS_ are of other programs: a `.env` is often shared.
    """
    try:
        lines = dotenv_values(file) if file.is_file() else {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the file of settings {file} cannot be read: {error}") from None
    ours = {key.upper(): value or "" for key, value in lines.items() if key.upper().startswith(PREFIX)}
    return {known_name(key.removeprefix(PREFIX).lower(), str(file)): value for key, value in ours.items()}


def known_name(name: str, where: str) -> str:
    """The name; raises ConfigurationError where no setting has it."""
    if name in Settings.model_fields:
        return name
    near = get_close_matches(name, Settings.model_fields, 1)
    meant = f"did you mean {near[0]}? " if near else ""
    raise ConfigurationError(f"{where}: no setting is named {name!r}; {meant}`stoploss settings` lists them")


@contextmanager
def given(pairs: Sequence[str], file: Path | None) -> Iterator[None]:
    """What flags say, for this process and its children: NAME=VALUE each, and the file. Raises ConfigurationError."""
    before = dict(os.environ)
    if file is not None:
        os.environ[FILE_VARIABLE] = str(file)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigurationError(f"--set {pair}: say NAME=VALUE, such as --set kafka=broker:9092")
        os.environ[variable(known_name(name.strip().lower().removeprefix(PREFIX.lower()), "--set"))] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
