"""Faults on purpose: kills at every boundary, protections taken away, brokers and databases that fail."""
