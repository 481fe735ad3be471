"""Queue sources: messages of RabbitMQ, Redis and Kafka become invocations.

listener (rabbitmq, redis_streams, redis_pubsub, kafka) ── Message ── reading ── hand-off ── ledger.accept ── ack

A listener owns the connection and the acknowledgement, and knows nothing of functions. The hand-off owns everything else:
format, filter, dedupe, batches, back-pressure, and waiting while the ledger is away. The engine follows the catalog.
"""
