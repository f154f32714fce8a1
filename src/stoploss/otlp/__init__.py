"""OpenTelemetry in: what a Collector's kafka exporter writes, to the `Trace` and `Outcome` records of the contract."""
