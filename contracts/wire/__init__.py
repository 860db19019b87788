"""The wire: Kafka records, strict CloudEvents envelopes, keys and detached signatures (SPEC.md, sections 1 to 4)."""
