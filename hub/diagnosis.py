"""What the doctor makes of what it saw: what is wrong, how sure that is, and what to do. Pure.

Each judgement looks at one thing and knows no clock: `now` and all readings are given.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from contracts.registry import KeyEntry, Participant, Registry
from hub.transport import Found, Plan

# `notice` is not wrong yet, or not surely wrong here; `unknown` could not be looked at.
Verdict = Literal["ok", "notice", "wrong", "unknown"]
Sure = Literal["certain", "likely", "a guess"]

CLOCK_OFFSET_MAX = timedelta(seconds=5)
# Between the broker's clock and the intake's lies the time on the way too, so only so much is surely the clock's.
APPEND_AHEAD_MAX = timedelta(seconds=2)
APPEND_BEHIND_MAX = timedelta(seconds=60)
LAG_MESSAGES_MAX = 10_000
UNSIGNED_AGE_MAX = timedelta(seconds=60)
WAITING_SHARE_MAX = 0.5
DISK_FREE_SHARE_MIN = 0.05
DISK_FREE_BYTES_MIN = 1024**3
STEPS_TOLD_MAX = 5
GIB = 1024**3


class Finding(NamedTuple):
    """One thing that was looked at. `do` is empty where nothing is to be done."""

    check: str
    verdict: Verdict
    sure: Sure
    says: str
    do: str = ""


class Disk(NamedTuple):
    """A disk's size and what is free of it, in bytes; -1 where its owner does not tell."""

    name: str
    total: int
    free: int


class Log(NamedTuple):
    """How far the evidence log is: leaves, and the newest checkpoint with its time (0 and None before the first)."""

    leaves: int
    size: int
    signed_at: datetime | None


class Seen(NamedTuple):
    """How far a witness has cosigned, and when the first checkpoint was signed that it has not (None: it has all)."""

    witness: str
    size: int
    behind_since: datetime | None


def is_well(findings: Sequence[Finding]) -> bool:
    """Whether nothing is wrong."""
    return all(finding.verdict != "wrong" for finding in findings)


def judge_transport(plan: Plan, found: Found) -> Iterator[Finding]:
    """Compare what Kafka knows with the registry."""
    steps = list(plan.list_steps())
    if found.acls is None:
        says = "The brokers have no authorizer: whoever reaches them may read and write everything."
        yield Finding("rights in Kafka", "notice", "certain", says, "In service, follow docs/how-to/kafka.md.")
    if steps:
        named = "; ".join(f"{step.verb} {step.what}" for step in steps[:STEPS_TOLD_MAX])
        more = f"; and {len(steps) - STEPS_TOLD_MAX} more" if len(steps) > STEPS_TOLD_MAX else ""
        do = "See it with `hub kafka apply --dry-run`, put it right with `hub kafka apply`."
        yield Finding("kafka", "wrong", "certain", f"Kafka is not what the registry says: {named}{more}.", do)
    for sentence in plan.conflicts:
        do = "Take the number of partitions back in the registry, or make the topic under a new name."
        yield Finding("topics", "wrong", "certain", sentence, do)
    for sentence in plan.foreign:
        says = f"Somebody else's right reaches into the exchange: {sentence}."
        do = "If nobody can say what it is for, take it away with Kafka's own tool, and ask who made it."
        yield Finding("rights in Kafka", "wrong", "likely", says, do)
    if not steps and not plan.conflicts:
        yield Finding("kafka", "ok", "certain", "Topics, rights and quotas are what the registry says.")


def judge_database_rights(drift: Sequence[str]) -> Finding:
    """Judge what differs in the database's roles and rights from what each process needs."""
    do = "See it with `hub database check`; `hub migrate`, as the owner, grants and takes back."
    if not drift:
        return Finding("rights in the database", "ok", "certain", "Each role may do what its process needs, no more.")
    if all(" is missing: " in sentence for sentence in drift):
        says = "The processes have no roles of their own in this database: each can do what its login can."
        return Finding("rights in the database", "notice", "certain", says, do)
    more = f" And {len(drift) - STEPS_TOLD_MAX} more." if len(drift) > STEPS_TOLD_MAX else ""
    return Finding("rights in the database", "wrong", "certain", " ".join(drift[:STEPS_TOLD_MAX]) + more, do)


def judge_certificate(what: str, ends: datetime, now: datetime, notice: timedelta) -> Finding:
    """Judge how long a certificate still lasts."""
    do = "Have a new one signed, put it in its place and restart what uses it: processes read it when they start."
    if ends <= now:
        return Finding("certificates", "wrong", "certain", f"{what} ended on {ends:%Y-%m-%d %H:%M}.", do)
    if ends - now <= notice:
        return Finding("certificates", "wrong", "certain", f"{what} ends on {ends:%Y-%m-%d %H:%M}.", do)
    return Finding("certificates", "ok", "certain", f"{what} lasts until {ends:%Y-%m-%d}.")


def judge_keys(registry: Registry, now: datetime, notice: timedelta) -> Iterator[Finding]:
    """Judge whether each participant can still sign and call when `notice` is over."""
    count = 0
    for party in registry.participants.values():
        for use in sorted({key.use for key in party.keys}):
            finding = _judge_keys_of(party, [key for key in party.keys if key.use == use], use, now, notice)
            if finding is not None:
                count += 1
                yield finding
    if not count:
        says = f"No participant's key ends within {notice.days} days without another after it."
        yield Finding("participants' keys", "ok", "certain", says)


def _judge_keys_of(
    party: Participant, keys: Sequence[KeyEntry], use: str, now: datetime, notice: timedelta
) -> Finding | None:
    good = [key for key in keys if key.revoked_at is None and key.nbf <= now < key.exp]
    if not good:
        # A party that lost its last key on purpose is not a fault of the exchange; that it says nothing must be known.
        says = f"{party.id} has no {use} key in force."
        return Finding(
            "participants' keys", "notice", "certain", says, f"Ask {party.id} for a new key, and register it."
        )
    last = max(key.exp for key in keys if key.revoked_at is None)
    if last - now > notice:
        return None
    says = f"The last {use} key of {party.id} ends on {last:%Y-%m-%d %H:%M}."
    return Finding("participants' keys", "wrong", "certain", says, f"Ask {party.id} to rotate it (rotate-key).")


def judge_suspended(registry: Registry, waiting: Mapping[str, int], waiting_max: int) -> Iterator[Finding]:
    """Name each suspended key and how many messages of its party wait; past `waiting_max` a topic's are refused."""
    do = "Two persons revoke it or lift the suspension: docs/how-to/key-compromise.md."
    for kid in sorted(registry.suspended):
        found = registry.key(kid)
        if found is None:
            continue
        count = waiting.get(f"from.{found[0].id}", 0)
        says = f"The {found[1].use} key {kid} of {found[0].id} is suspended; {count} messages of {found[0].id} wait."
        nearly = count >= WAITING_SHARE_MAX * waiting_max
        verdict: Verdict = "wrong" if nearly else "notice"
        told = f"{says} From {waiting_max} on they are refused." if nearly else says
        yield Finding("suspended keys", verdict, "certain", told, do)
    if not registry.suspended:
        yield Finding("suspended keys", "ok", "certain", "No key is suspended.")


def judge_database_clock(before: datetime, there: datetime, after: datetime) -> Finding:
    """Judge PostgreSQL's clock by the moments before and after it was asked."""
    # It was read somewhere between the two; what lies between them is nobody's offset.
    ahead, behind = there - after, before - there
    offset = max(ahead, behind, timedelta(0))
    if offset <= CLOCK_OFFSET_MAX:
        return Finding("clocks", "ok", "certain", "PostgreSQL's clock and this machine's agree.")
    word = "ahead of" if ahead > behind else "behind"
    says = f"PostgreSQL's clock is {offset.total_seconds():.1f} s {word} this machine's."
    return Finding("clocks", "wrong", "certain", says, "Let both keep time by the same servers (chrony, timesyncd).")


def judge_broker_clock(shortest: timedelta | None) -> Finding:
    """Judge the brokers' clock by the shortest time that a recent message took from them to the hub (None: none came).

    A broker tells nobody its clock; but no message arrives before it was appended.
    """
    if shortest is None:
        return Finding(
            "clocks", "unknown", "certain", "No message came lately by which the brokers' clock can be told."
        )
    if shortest < -APPEND_AHEAD_MAX:
        says = f"Messages arrive {-shortest.total_seconds():.1f} s before the brokers say that they were appended."
        do = "The brokers' clock is ahead of the intake's, or the intake's is behind: let both keep the same time."
        return Finding("clocks", "wrong", "certain", says, do)
    if shortest > APPEND_BEHIND_MAX:
        says = f"Even the fastest message of late took {shortest.total_seconds():.0f} s from the brokers to the hub."
        do = "Either the intake is behind (see its lag), or the brokers' clock is behind: compare them."
        return Finding("clocks", "notice", "a guess", says, do)
    return Finding("clocks", "ok", "likely", "The brokers' clock fits the times at which messages came.")


def judge_disk(disk: Disk) -> Finding:
    """Judge what is free on a disk."""
    if disk.total <= 0:
        return Finding("disks", "unknown", "certain", f"{disk.name} does not tell how much of its disk is free.")
    says = f"{disk.name} has {disk.free / GIB:.1f} of {disk.total / GIB:.1f} GiB free"
    if disk.free < DISK_FREE_BYTES_MIN or disk.free < DISK_FREE_SHARE_MIN * disk.total:
        return Finding("disks", "wrong", "certain", f"{says}.", "Make room or grow it before writes fail.")
    return Finding("disks", "ok", "certain", f"{says}.")


def judge_lag(who: str, behind: Mapping[str, int], remedy: str) -> Finding:
    """Judge how many messages wait, by topic."""
    total = sum(behind.values())
    if total <= LAG_MESSAGES_MAX:
        return Finding("lag", "ok", "certain", f"{who} is {total} messages behind.")
    worst = max(behind, key=lambda topic: behind[topic])
    says = f"{who} is {total} messages behind, {behind[worst]} of them on {worst}."
    # Much after an outage is normal for a while; whether it shrinks one look cannot tell.
    return Finding("lag", "wrong", "likely", says, remedy)


def judge_log(log: Log, now: datetime) -> Finding:
    """Judge whether the log is signed up to its end."""
    do = "Start `hub sequencer`; if it ends by itself, its last sentence says why."
    if log.signed_at is None:
        return Finding("evidence log", "wrong", "certain", f"{log.leaves} leaves, and none was ever signed.", do)
    unsigned, age = log.leaves - log.size, now - log.signed_at
    if unsigned and age > UNSIGNED_AGE_MAX:
        says = f"{unsigned} leaves are not signed; the newest checkpoint is {_write_age(age)} old."
        return Finding("evidence log", "wrong", "certain", says, do)
    return Finding("evidence log", "ok", "certain", f"The log is signed up to {log.size} of {log.leaves} leaves.")


def judge_witness(seen: Seen, now: datetime, grace: timedelta) -> Finding:
    """Judge how far a witness is behind what was signed."""
    if seen.behind_since is None or now - seen.behind_since <= UNSIGNED_AGE_MAX:
        return Finding("witnesses", "ok", "certain", f"{seen.witness} has cosigned up to {seen.size}.")
    age = now - seen.behind_since
    says = f"{seen.witness} has cosigned nothing since {_write_age(age)} ago (size {seen.size})."
    do = "Ask the oversight body: its witness is away, or it refuses this log. The sequencer's log says which."
    if age > grace:
        return Finding("witnesses", "wrong", "certain", f"{says} Recommendations may wait for it.", do)
    return Finding("witnesses", "notice", "likely", says, do)


def judge_holders(wanted: Collection[str], held: Collection[str]) -> Finding:
    """Judge whether somebody does each of the things that one process must do."""
    missing = sorted(set(wanted) - set(held))
    if not missing:
        return Finding("processes", "ok", "certain", f"Each of {len(wanted)} duties has its process.")
    says = f"Nobody does this at the moment: {', '.join(missing)}."
    do = "Start `hub relay` (its topics), `hub deadlines` or `hub sequencer`, whichever it is."
    # Between two holders there is a moment without one.
    return Finding("processes", "wrong", "likely", says, do)


def _write_age(age: timedelta) -> str:
    seconds = age.total_seconds()
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.0f} h"
