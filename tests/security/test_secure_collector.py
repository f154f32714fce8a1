"""deploy/collector/secure.yaml: a real Collector gets in as its own user, over TLS, and its spans arrive."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stoploss.acls import all_acls
from stoploss.control.credentials import PASSWORD_SUFFIX
from stoploss.settings import Settings, load
from streams.admin import Admin
from tests.installation import Tail
from tests.otlp.test_collector import built, collecting, free_port, serve_one_request

from .broker import SecureKafka

USER = "stoploss-default-collector"


@contextmanager
def running(kafka: SecureKafka, log: Path) -> Iterator[str]:
    """A Collector with the environment of its container; gives its HTTP address."""
    ports = [str(free_port()) for _ in range(2)]
    environment = {
        "KAFKA_BROKERS": str(kafka.bootstrap),
        "GRPC_PORT": ports[0],
        "HTTP_PORT": ports[1],
        "KAFKA_USER": USER,
        "KAFKA_PASSWORD_FILE": str(kafka.credentials / f"{USER}{PASSWORD_SUFFIX}"),
        "KAFKA_CA_FILE": str(kafka.ca_file),
    }
    with collecting(built(), ["config.yaml", "secure.yaml"], environment, log) as url:
        yield url


@pytest.fixture
def settings(secure_kafka: SecureKafka) -> Settings:
    """Of the administrator, for topics and users of the names that the compose file has."""
    made = load(kafka=secure_kafka.bootstrap, ledger_partitions=2, **secure_kafka.admin_settings)
    admin = Admin(made.need_kafka())
    admin.create(made)
    admin.allow(all_acls(made))
    return made


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(1_800)
def test_spans_arrive_under_the_collectors_own_password(
    secure_kafka: SecureKafka, settings: Settings, tmp_path: Path
) -> None:
    spans = Tail(settings, "otlp_spans")
    with running(secure_kafka, tmp_path / "collector.log") as url:
        trace_id = serve_one_request(url)
        while trace_id.encode() not in {message.key() for message in spans.seen()}:
            assert "Permanent error" not in (tmp_path / "collector.log").read_text()
    spans.close()
