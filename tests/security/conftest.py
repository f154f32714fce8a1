from __future__ import annotations

from collections.abc import Iterator

import pytest

from .broker import SecureKafka


@pytest.fixture(scope="package")
def secure_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureKafka]:
    with SecureKafka(tmp_path_factory.mktemp("secure-kafka")) as service:
        yield service
