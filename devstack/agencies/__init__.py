"""Independent simulators of the agencies: they speak the standards and import nothing of the exchange."""
