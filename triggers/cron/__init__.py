"""Schedules: APScheduler runs the loop (`engine`), cronsim computes (`slots`), the ledger decides (`looking`)."""
