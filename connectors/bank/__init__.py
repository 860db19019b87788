"""A bank's connector: takes its SNAP payment notifications and its camt.054 statements, and publishes the payments."""
