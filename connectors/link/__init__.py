"""What every connector shares: pinned trust, a durable spool, a publisher, a subscriber, the process's frame."""
