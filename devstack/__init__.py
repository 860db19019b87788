"""The development stack: the real Kafka and PostgreSQL, simulated agencies, and the demo. It is in no wheel."""
