"""Named points before and after each durable step of the hub, where a fault test may kill the process.

They are inert: nothing that ships calls `arm`. Only a module outside the wheels does, in a test.
"""

from collections.abc import Callable

POINTS = (
    "intake.before_transaction",
    "intake.after_watermark",
    "intake.after_inbox",
    "intake.after_cases",
    "intake.before_seal",
    "intake.before_commit",
    "intake.after_commit",
    "intake.before_offsets",
    "intake.after_offsets",
    "erasure.before_commit",
    "erasure.after_commit",
    "deadlines.before_commit",
    "deadlines.after_commit",
    "reconciler.before_close_commit",
    "reconciler.after_close_commit",
    "reconciler.before_report_commit",
    "reconciler.after_report_commit",
    "counts.before_commit",
    "counts.after_commit",
    "counts.before_judged_commit",
    "repairs.before_settled",
    "repairs.after_settled",
    "repairs.before_batch",
    "repairs.after_batch",
    "relay.before_signature",
    "relay.after_signature",
    "relay.before_send",
    "relay.after_send",
    "relay.before_kafka_commit",
    "relay.after_kafka_commit",
    "relay.after_position",
    "sequencer.before_commit",
    "sequencer.after_commit",
    "sequencer.before_checkpoint",
    "sequencer.after_checkpoint",
    "sequencer.before_cosignature",
    "sequencer.after_cosignature",
)

_armed: Callable[[str], None] | None = None


def arm(callback: Callable[[str], None]) -> None:
    """Let a fault test be told of every point that the process reaches."""
    global _armed
    _armed = callback


def reach(name: str) -> None:
    """Pass the point `name`: nothing happens unless a test has armed the points."""
    if _armed is not None:
        _armed(name)
