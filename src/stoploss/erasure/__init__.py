"""Erasing one person's data: in ClickHouse, in incident packs, and when Kafka will have forgotten it."""
