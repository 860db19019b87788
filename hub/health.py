"""What stands in the way of each part of the hub just now, so that readiness can say why."""


class Health:
    """The open problems of one process, each named by the part it belongs to, in one sentence each."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}

    def report(self, part: str, problem: str) -> bool:
        """Note that `problem` stops or slows `part`; return whether that is news, so that it is logged once."""
        news = self._problems.get(part) != problem
        self._problems[part] = problem
        return news

    def clear(self, part: str) -> bool:
        """Note that `part` works; return whether it did not before."""
        return self._problems.pop(part, None) is not None

    def problems(self) -> dict[str, str]:
        """Return the open problems by part; empty means ready."""
        return dict(self._problems)
