"""The revisions of the hub's schema, as plain SQL."""
