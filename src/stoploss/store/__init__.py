"""ClickHouse: tables, inserts and reads. Nothing that decides waits for it."""
