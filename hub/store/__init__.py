"""The hub's only SQL: every statement against PostgreSQL lives in this folder."""
