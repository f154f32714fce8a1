"""What 1, 10 and 100 million traces a second would cost: python -m bench.scaling_model [--inputs FILE]

Computed, not measured: what one trace costs here, times how many come, over what one worker, broker or server can do.
`python -m bench.pipeline --inputs FILE` measures what a trace costs; what a server can do is assumed, in `Servers`.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from bench.table import Table

INPUTS = Path(__file__).with_name("scaling_inputs.json")
RATES = (100_000, 1_000_000, 10_000_000, 100_000_000)
MICROS, DAY_S = 1e6, 86_400
TRACES_DAYS, LEDGER_DAYS, STORED_DAYS = 1, 365, 90
KEPT_DAYS = {"traces": TRACES_DAYS, "traces_clean": TRACES_DAYS, "ledger": LEDGER_DAYS}
WORKERS = ("intake", "judge", "recorder")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Measured, of a trace.

    cpu_micros    of the processor, by process
    topic_bytes   on a broker's disk, by topic
    stored_bytes  in ClickHouse
    """

    measured: str
    cpu_micros: Mapping[str, float]
    topic_bytes: Mapping[str, float]
    stored_bytes: float

    @classmethod
    def read(cls, file: Path) -> Inputs:
        given = json.loads(file.read_text())
        return cls(**{field.name: given[field.name] for field in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Assumed.

    busy              of its time that a core is to be used, so that a burst and a dead neighbour find room
    replication       copies of each record, each of which costs a broker its writing; replicas of ClickHouse
    broker_*, clickhouse_*  cores, bytes a second written to disk, bytes that its disks hold
    """

    busy: float = 0.6
    replication: int = 3
    replicas: int = 2
    broker_cores: int = 16
    broker_write_bytes_s: float = 500e6
    broker_disk_bytes: float = 20e12
    clickhouse_cores: int = 32
    clickhouse_disk_bytes: float = 40e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a rate needs. workers: processes of a core each, by role; the partitions must be as many at least."""

    rate_per_s: int
    workers: Mapping[str, int]
    brokers: int
    brokers_because: str
    clickhouse: int
    clickhouse_because: str


def cores(micros: float, rate_per_s: float, busy: float) -> float:
    """
    >>> round(cores(6.0, 100_000, 0.6), 6)
    1.0
    """
    return micros / MICROS * rate_per_s / busy


def largest(needs: Mapping[str, float], at_least: int) -> tuple[int, str]:
    """How many servers, and what they are needed for.

    >>> largest({"processor": 2.1, "disk": 7.5}, 3)
    (8, 'disk')
    """
    name = max(needs, key=lambda need: needs[need])
    return max(at_least, math.ceil(needs[name])), name


def cost(rate_per_s: int, inputs: Inputs, servers: Servers) -> Cost:
    """Of so many traces a second, spread over experiments so that no judge has more than its share."""
    workers = {role: math.ceil(cores(inputs.cpu_micros[role], rate_per_s, servers.busy)) for role in WORKERS}
    written = sum(inputs.topic_bytes.values()) * rate_per_s * servers.replication
    kept = sum(inputs.topic_bytes.get(topic, 0.0) * days for topic, days in KEPT_DAYS.items())
    brokers, brokers_because = largest(
        {
            "processor": cores(inputs.cpu_micros["broker"], rate_per_s, servers.busy)
            * servers.replication
            / servers.broker_cores,
            "writing": written / servers.busy / servers.broker_write_bytes_s,
            "disk": kept * DAY_S * rate_per_s * servers.replication / servers.broker_disk_bytes,
        },
        servers.replication,
    )
    clickhouse, clickhouse_because = largest(
        {
            "processor": cores(inputs.cpu_micros["clickhouse"], rate_per_s, servers.busy)
            * servers.replicas
            / servers.clickhouse_cores,
            "disk": inputs.stored_bytes
            * STORED_DAYS
            * DAY_S
            * rate_per_s
            * servers.replicas
            / servers.clickhouse_disk_bytes,
        },
        servers.replicas,
    )
    return Cost(
        rate_per_s=rate_per_s,
        workers=workers,
        brokers=brokers,
        brokers_because=brokers_because,
        clickhouse=clickhouse,
        clickhouse_because=clickhouse_because,
    )


def hottest(inputs: Inputs, servers: Servers) -> int:
    """Traces a second of one experiment that one judge has room for."""
    return int(servers.busy * MICROS / inputs.cpu_micros["judge"])


def table(inputs: Inputs, servers: Servers) -> Table:
    found = Table(("traces/s", *WORKERS, "brokers", "because of", "ClickHouse servers", "because of "))
    for rate in RATES:
        one = cost(rate, inputs, servers)
        workers = [f"{one.workers[role]:,}" for role in WORKERS]
        others = (f"{one.brokers:,}", one.brokers_because, f"{one.clickhouse:,}", one.clickhouse_because)
        found.add(f"{rate:,}", *workers, *others)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, default=INPUTS)
    given = parser.parse_args()
    inputs, servers = Inputs.read(given.inputs), Servers()
    print(f"## What scale costs\n\nA trace costs what it did at {inputs.measured}.\n")
    print(table(inputs, servers).markdown())
    print(f"\nOne experiment: {hottest(inputs, servers):,} traces/s at a judge that is {servers.busy:.0%} busy.")


if __name__ == "__main__":
    main()
