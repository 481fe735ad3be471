"""librdkafka's own broker cluster, over TCP, in a process that a test can stop for a while: prints its addresses.

Topics are made when they are first used, with four partitions each. It ends with its standard input.
"""

from __future__ import annotations

import logging
import sys

import confluent_kafka

if __name__ == "__main__":
    quiet = logging.getLogger("mock")
    quiet.addHandler(logging.NullHandler())
    producer = confluent_kafka.Producer({"test.mock.num.brokers": 3}, logger=quiet)
    print(",".join(f"{broker.host}:{broker.port}" for broker in producer.list_topics().brokers.values()), flush=True)
    sys.stdin.read()
