"""Reading by number alone: whatever order numbers are drawn, committed and rolled back in, each row is read once."""

import math
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.ministry.gaps import STRETCHES_MAX, Activity, GapCursor

GAP_WAIT_S, BLIND_WAIT_S = 10.0, 1_000.0
LIMIT = 3


@dataclass
class Server:
    """A table with a number that rises, and transactions that draw it, as InnoDB and PostgreSQL have them."""

    now_s: float = 0.0
    next_number: int = 1
    next_transaction: int = 1
    running: dict[int, list[int]] = field(default_factory=dict)
    slots: dict[int, int] = field(default_factory=dict)
    rows: set[int] = field(default_factory=set)

    def insert(self, slot: int, skipped: int) -> None:
        """Insert a row in the transaction of a slot, which begins with it."""
        if slot not in self.slots:
            self.slots[slot] = self.next_transaction
            self.running[self.next_transaction] = []
            self.next_transaction += 1
        self.next_number += skipped
        self.running[self.slots[slot]].append(self.next_number)
        self.next_number += 1

    def end(self, slot: int, *, commits: bool) -> None:
        if slot in self.slots:
            drawn = self.running.pop(self.slots.pop(slot))
            self.rows |= set(drawn) if commits else set()

    def activity(self) -> Activity:
        return Activity(min(self.running, default=math.inf), max(self.running, default=0) + 1)


@dataclass
class Reader:
    """The loop around the cursor, as `NumberOrder` has it."""

    server: Server
    sees: bool
    cursor: str | None = None
    read: list[int] = field(default_factory=list)

    def look(self) -> None:
        at = GapCursor.read(self.cursor)
        activity = self.server.activity() if self.sees else None
        late = sorted(row for row in self.server.rows if any(low <= row <= high for low, high in at.stretches))[:LIMIT]
        at = at.found(late)
        if len(late) < LIMIT:
            at, _ = at.settled(self.server.now_s, activity, GAP_WAIT_S, BLIND_WAIT_S)
        following = sorted(row for row in self.server.rows if row > at.top)[: LIMIT - len(late)]
        at = at.advanced(following, self.server.now_s)
        self.read += [*late, *following]
        self.cursor = str(at)


SLOTS = st.integers(0, 2)
ACTIONS = st.one_of(
    st.tuples(st.just("insert"), SLOTS, st.sampled_from([0, 0, 0, 1, 7])),
    st.tuples(st.just("commit"), SLOTS, st.just(0)),
    st.tuples(st.just("roll back"), SLOTS, st.just(0)),
    st.just(("look", 0, 0)),
    st.tuples(st.just("wait"), st.integers(1, 30), st.just(0)),
)


def act(server: Server, reader: Reader, action: tuple[str, int, int]) -> None:
    name, number, skipped = action
    if name == "insert":
        server.insert(number, skipped)
    elif name == "look":
        reader.look()
    elif name == "wait":
        server.now_s += number
    else:
        server.end(number, commits=name == "commit")


@settings(max_examples=400)
@given(st.lists(ACTIONS, min_size=8, max_size=60), st.booleans())
def test_every_committed_row_is_read_once_and_nothing_is_looked_for_for_ever(
    actions: list[tuple[str, int, int]], sees: bool
) -> None:
    server = Server()
    reader = Reader(server, sees)
    for action in actions:
        act(server, reader, action)
    for slot in list(server.slots):
        server.end(slot, commits=True)
    for _ in range(len(server.rows) // LIMIT + 3):
        reader.look()
    assert sorted(reader.read) == sorted(server.rows)
    for wait_s in (BLIND_WAIT_S, BLIND_WAIT_S):
        server.now_s += wait_s
        reader.look()
    assert GapCursor.read(reader.cursor).missed == ()


def test_number_of_a_running_transaction_is_looked_for_however_long_it_runs() -> None:
    at = GapCursor().advanced([1, 3], 0.0)
    for now_s in (11.0, 10.0**6):
        at, given_up = at.settled(now_s, Activity(7, 9), GAP_WAIT_S, BLIND_WAIT_S)
        assert (at.stretches, given_up) == ([(2, 2)], 0)
    # A transaction that began after the number was missed cannot bring it.
    at, given_up = at.settled(10.0**6, Activity(9, 12), GAP_WAIT_S, BLIND_WAIT_S)
    assert (at.stretches, given_up) == ([], 0)


def test_number_is_not_settled_before_its_wait_though_nothing_runs() -> None:
    at = GapCursor().advanced([1, 3], 100.0)
    at, _ = at.settled(109.0, Activity(math.inf, 1), GAP_WAIT_S, BLIND_WAIT_S)
    assert at.stretches == [(2, 2)]


def test_unseen_transactions_are_waited_for_and_then_given_up_by_count() -> None:
    at = GapCursor().advanced([5, 9], 0.0)
    at, given_up = at.settled(BLIND_WAIT_S - 1, None, GAP_WAIT_S, BLIND_WAIT_S)
    assert (at.stretches, given_up) == ([(1, 4), (6, 8)], 0)
    at, given_up = at.settled(BLIND_WAIT_S, None, GAP_WAIT_S, BLIND_WAIT_S)
    assert (at.stretches, given_up) == ([], 2)


def test_found_numbers_split_a_stretch() -> None:
    at = GapCursor().advanced([10], 0.0).found([1, 4, 5, 9])
    assert at.stretches == [(2, 3), (6, 8)]
    assert GapCursor.read(str(at)) == at


def test_stretches_are_bounded() -> None:
    at = GapCursor().advanced(range(2, 2 * STRETCHES_MAX, 2), 0.0)
    assert not at.full
    assert at.advanced([at.top + 2], 0.0).full
