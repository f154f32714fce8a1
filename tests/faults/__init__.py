"""Thirty-two faults put into a running installation, each followed by an independent look at what is left.

    python -m tests.faults [NAME ...] [--kills N] [--minutes N]

`scripts/` holds one fault a module: what is done, and what must hold. The parts are the real ones: Apache Kafka, the
workers and controllers as processes, ClickHouse's engine. `sender.py` is the service; it writes a plain log of what it
sent. `verifier.py` is a process of its own without any code of stoploss: it reads that log and the topics, and says
what was lost, what was counted twice, and what stands in a wrong state.
"""
