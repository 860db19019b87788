"""What the connector's role may do in the register, and what a register answers when it refuses an outcome."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rights:
    """What was found. `changes`: the role may change the outbox, which it never needs to.

    `sees_transactions`: missing numbers can be settled soon; None where the order of reading does not need it.
    `transactional`: both tables forget what is rolled back.
    """

    reads: bool
    writes: bool
    changes: bool
    sees_transactions: bool | None
    transactional: bool = True


class OutcomeRefused(Exception):
    """The receiver will not take this outcome as it is, for example since a column is too narrow; others may pass."""
