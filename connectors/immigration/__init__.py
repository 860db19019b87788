"""Immigration's connector: delivers verified recommendations into the visa system, and publishes what it answers."""
