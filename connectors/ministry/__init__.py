"""The ministry's connector: reads the permit register's outbox table, writes what came out into its outcome table."""
