"""librdkafka's own broker cluster, over TCP, in a process that a test can stop for a while: prints its addresses.

Topics are made when they are first used, with four partitions each, but for one that never is. It reads "down" and "up" from
its standard input, and ends with it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

import confluent_kafka

BROKERS = 3
#: A topic that there is not; any other is made when it is first used.
MISSING = "missing"
_UNKNOWN_TOPIC_OR_PART = 3
#: Milliseconds that a new group waits for further members; brokers wait 3 s by default, in every test anew.
FIRST_JOIN_MS = 100


def start() -> tuple[str, Callable[[str], None]]:
    """Start the cluster in this process; return its addresses, and what takes its brokers "down" and "up".

    Its C interface has these and a setting that the client's has not.
    """
    assert confluent_kafka.libversion()  # it has loaded the library
    maps = Path("/proc/self/maps").read_text().splitlines()
    library = ctypes.CDLL(next(line.split()[-1] for line in maps if "librdkafka" in line))
    for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, function).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    producer, reason = 0, ctypes.create_string_buffer(512)
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    library.rd_kafka_conf_set_log_cb(configuration, None)  # it would warn that it has nowhere to connect to
    host = ctypes.c_void_p(library.rd_kafka_new(producer, configuration, reason, len(reason)))
    assert host, reason.value
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(host, BROKERS))
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, FIRST_JOIN_MS)
    library.rd_kafka_mock_topic_set_error(cluster, MISSING.encode(), _UNKNOWN_TOPIC_OR_PART)
    addresses: bytes = library.rd_kafka_mock_cluster_bootstraps(cluster)

    def turn(which_way: str) -> None:
        """With "down" connections are closed and refused; what was sent is kept."""
        for broker in range(1, BROKERS + 1):
            getattr(library, f"rd_kafka_mock_broker_set_{which_way}")(cluster, broker)

    return addresses.decode(), turn


if __name__ == "__main__":
    addresses, turn = start()
    print(addresses, flush=True)
    for line in sys.stdin:
        turn(line.strip())
