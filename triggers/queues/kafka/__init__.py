"""Kafka: a member of a consumer group that commits only what the ledger has, and keeps polling whatever happens.

member (polls, on a thread of its own) ── messages ── listener (hands over, on the event loop) ── ends ── member (commits)

A partition's committed offset is the lowest one that is not finished (offsets), so a crash delivers again, and never skips.
"""
