"""What stands in the way of each part of the hub just now, so that readiness can say why, and alarms since when."""

from hub import metrics
from hub.clock import utc_now


class Health:
    """The open problems of one process, each named by the part it belongs to, in one sentence each."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}
        self._notes: dict[str, str] = {}

    def report(self, part: str, problem: str) -> bool:
        """Note that `problem` stops or slows `part`; return whether that is news, so that it is logged once."""
        news = self._problems.get(part) != problem
        if part not in self._problems:
            metrics.PROBLEM_SINCE.labels(part).set(utc_now().timestamp())
        self._problems[part] = problem
        return news

    def clear(self, part: str) -> bool:
        """Note that `part` works; return whether it did not before."""
        if self._problems.pop(part, None) is None:
            return False
        metrics.PROBLEM_SINCE.labels(part).set(0)
        return True

    def note(self, subject: str, sentence: str | None) -> None:
        """Let readiness say `sentence` of `subject`, or nothing any more; it asks for somebody, and stops no part."""
        if sentence is None:
            self._notes.pop(subject, None)
        else:
            self._notes[subject] = sentence

    def notes(self) -> dict[str, str]:
        """Return what asks for somebody's attention, by subject; the process is as ready as without it."""
        return dict(self._notes)

    def problems(self) -> dict[str, str]:
        """Return the open problems by part; empty means ready."""
        return dict(self._problems)
