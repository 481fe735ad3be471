"""What carries invocations from accept to a worker: Redis Streams by default, or RabbitMQ."""
