"""A month counted by hand of what was told, without any of the code under test."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta, timezone

from devstack.agencies.year import Told

JAKARTA = timezone(timedelta(hours=7))


class Month:
    """The months' figures as whoever reads the messages would count them; a month is written 2025-08."""

    def __init__(self, told: Iterable[Told], month: str) -> None:
        self.told = list(told)
        self.month = month

    def of(self, name: str) -> list[Told]:
        """What was told of this kind in the month."""
        kind = f"id.tka.{name}.v1"
        return [one for one in self.told if one.type == kind and self.of_month(one) == self.month]

    def of_month(self, one: Told) -> str:
        """The month in Jakarta in which something happened."""
        return f"{one.time.astimezone(JAKARTA):%Y-%m}"

    def pending(self) -> int:
        """How many were asked for by the month's end and not decided."""
        decided, asked = (
            {one.key for one in self.told if one.type.endswith(ends) and self.of_month(one) <= self.month}
            for ends in (("permit.approved.v1", "permit.rejected.v1"), ("permit.submitted.v1",))
        )
        return len(asked - decided)

    def billed(self) -> str:
        """The compensation that was billed, in US dollars."""
        return f"{sum(int(one.data['amount'][:-3]) for one in self.of('ministry.billing.issued'))}.00"

    def stock(self, last: str) -> list[dict[str, object]]:
        """The permits in force on the month's last day."""
        granted = {
            one.key: one.data
            for one in self.told
            if one.type.endswith("permit.approved.v1") and f"{one.time.astimezone(JAKARTA):%Y-%m-%d}" <= last
        }
        ended = {
            one.key for one in self.told if one.type.endswith("permit.revoked.v1") and f"{one.time:%Y-%m-%d}" <= last
        }
        return [data for name, data in granted.items() if name not in ended and data["from"] <= last < data["until"]]

    def totals(self, last: str) -> dict[str, str]:
        """The figures of a month as statistics name them."""
        approved, refused = self.of("ministry.permit.approved"), self.of("ministry.permit.rejected")
        kinds = Counter(f"flow_{one.data['permit_kind']}" for one in approved)
        stock = self.stock(last)
        counted = {
            "received": len(self.of("ministry.permit.submitted")),
            "decided": len(approved) + len(refused),
            "refused": len(refused),
            "pending": self.pending(),
            "stock": len(stock),
            "workers": len({data["worker"] for data in stock}),
        }
        return {name: str(number) for name, number in (kinds | Counter(counted)).items()} | {"billed": self.billed()}
