"""What every connector shares: pinned trust, a durable spool, a publisher, a subscriber, and the frame of the process."""
