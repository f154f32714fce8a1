"""Settings of an installation: environment variables STOPLOSS_*, or a `.env` file; the environment wins."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from stoploss.errors import ConfigurationError
from stoploss.topics import Names


class Settings(BaseSettings):
    """Where everything is.

    kafka              bootstrap servers; unset: `stoploss up` and `demo` start the embedded broker
    clickhouse_url     HTTP address of ClickHouse; unset: the embedded engine
    home               keys, the embedded parts' data, and the addresses of a running `stoploss up`
    topic_prefix       before every topic name
    installation       name of this installation: part of consumer groups, transactional ids and signatures
    ledger_partitions  of the topics partitioned by experiment; fixed once they exist
    source_partitions  of traces, outcomes and the other topics
    replication        replication factor of topics that stoploss creates
    """

    model_config = SettingsConfigDict(env_prefix="STOPLOSS_", env_file=".env", extra="ignore", frozen=True)

    kafka: str | None = None
    clickhouse_url: str | None = None
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
    ack_deadline_ms: int = Field(5_000, ge=100)
    log_level: str = Field("INFO", pattern=r"^(DEBUG|INFO|WARNING|ERROR)$")

    @property
    def topics(self) -> Names:
        return Names(self.topic_prefix)

    @property
    def keys(self) -> Path:
        return self.home / "keys"

    def need_kafka(self) -> str:
        if not self.kafka:
            raise ConfigurationError(
                "no Kafka address: set STOPLOSS_KAFKA=host:port, or start the embedded one with `stoploss up`"
            )
        return self.kafka

    def need_clickhouse(self) -> str:
        if not self.clickhouse_url:
            raise ConfigurationError(
                "no ClickHouse address: set STOPLOSS_CLICKHOUSE_URL=http://host:8123, "
                "or start the embedded one with `stoploss up`"
            )
        return self.clickhouse_url


def load(**overrides: object) -> Settings:
    """Settings from the environment; a wrong one is named, with what it should be."""
    try:
        return Settings(**{name: value for name, value in overrides.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "; ".join(
            f"STOPLOSS_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg']} (given: {fault.get('input')!r})"
            for fault in error.errors()
        )
        raise ConfigurationError(f"settings are wrong: {faults}") from error
