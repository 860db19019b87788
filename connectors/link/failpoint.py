"""Named points before and after each durable step of a connector, where a fault test may kill the process.

They are inert: nothing that ships calls `arm`. Only a module outside the wheels does, in a test.
"""

from collections.abc import Callable

POINTS = (
    "spool.before_put_commit",
    "spool.after_put_commit",
    "spool.before_sign_commit",
    "spool.after_sign_commit",
    "spool.before_sent_commit",
    "spool.after_sent_commit",
    "spool.before_settle_commit",
    "spool.after_settle_commit",
    "spool.before_erase_commit",
    "spool.after_erase_commit",
    "spool.before_adopt_commit",
    "spool.after_adopt_commit",
    "spool.before_begin_commit",
    "spool.after_begin_commit",
    "keys.before_keep",
    "keys.after_keep",
    "keys.before_promote",
    "keys.after_promote",
    "publish.before_sign",
    "publish.before_send",
    "publish.after_send",
    "deliver.before_handle",
    "deliver.after_handle",
    "deliver.before_note",
    "deliver.after_note",
    "trust.before_registry_kept",
    "trust.after_registry_kept",
    "register.after_read",
    "writeback.before_queue",
    "writeback.after_queue",
    "writeback.before_commit",
    "writeback.after_commit",
    "writeback.before_delivered",
    "writeback.after_delivered",
    "webhook.before_send",
    "webhook.after_send",
    "events.before_put",
    "events.after_put",
    "events.before_answer",
    "folder.before_put",
    "folder.after_put",
    "folder.before_move",
    "folder.after_move",
    "notification.before_put",
    "notification.before_answer",
    "explanation.before_put",
    "explanation.after_put",
    "explanation.before_answer",
    "statement.before_put",
    "statement.before_move",
    "statement.after_move",
    "answers.after_read",
    "answers.before_put",
    "answers.after_put",
    "answers.before_put_away",
    "answers.after_put_away",
    "offices.before_queue",
    "offices.after_queue",
    "offices.before_done",
    "offices.after_done",
    "offices.before_verdict",
    "offices.after_verdict",
    "visa_system.before_delivery",
    "visa_system.after_delivery",
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
