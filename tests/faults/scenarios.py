"""Scenarios that only an exchange with all of its protections comes through without a finding.

Each takes the rules of FAULT_REPLACE for the process that it is about, and returns what the invariants find in the end.
"""

import signal
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from urllib.parse import urlsplit

from devstack.demonstration.forgery import CONTENT_TYPE, RawRecord
from devstack.ports import find_free_ports
from hub.store.privileges import Role, name_group
from tests.faults.background import NotReached, wait_until
from tests.faults.exchange import Exchange
from tests.faults.natives import Books

REPLACEMENTS = "tests.faults.replacements"
GATHERING = [
    f"hub.intake:AIOKafkaConsumer={REPLACEMENTS}:GatheringConsumer",
    f"hub.intake:pack={REPLACEMENTS}:pack_each_alone",
]
LOST_ANSWERS = [f"hub.relay:AIOKafkaProducer={REPLACEMENTS}:ForgottenProducer"]
APPLICATIONS = 4
CROWD = 16
# What decisions read: only that locks a case.
KINDS = ("PERMOHONAN_DIAJUKAN",)
RELAYS = ("hub-relay", "hub-relay-b")
# Without a protection an exchange may never come to rest: long enough for a sound one, as the sound runs show.
UNREST_LIMIT_S = 20.0
TAKEOVER_LIMIT_S = 30.0


def prepare(exchange: Exchange, name: str, replacing: list[str]) -> None:
    """Let everything run, with these rules for the process `name`; what runs already is left as it is."""
    if not exchange.rig.running:
        exchange.begin(replacing={name: replacing})
    elif replacing:
        raise ValueError("an exchange that is shared is not to be weakened")


def retire(exchange: Exchange, name: str) -> None:
    """Stop a process that is no longer needed."""
    exchange.rig.stop(name)
    del exchange.rig.running[name]


def start_second_relay(exchange: Exchange, replacing: list[str]) -> None:
    """Start another relay, under the name `hub-relay-b`, and wait until both lead."""
    exchange.rig.extra["hub-relay-b"] = {"METRICS_PORT": str(find_free_ports(1)[0])}
    exchange.rig.start("hub-relay-b", replacing=replacing)
    exchange.rig.wait_ready("hub-relay-b")
    wait_until("both relays lead", lambda: all(_leads(exchange, name) for name in RELAYS), TAKEOVER_LIMIT_S)


def _leads(exchange: Exchange, name: str) -> bool:
    return exchange.rig.read_figure(name, "hub_relay_leading") > 0


def end_term(exchange: Exchange) -> None:
    """End the sessions that hold the relays' locks, as the server does by itself when one was silent for 10 s."""
    # The relay's role is not the owner's to cut off: only the administrator may.
    exchange.rig.postgres.fetch_values(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hub-relay' AND datname = $1",
        _name_database(exchange),
    )


def _name_database(exchange: Exchange) -> str:
    return urlsplit(exchange.rig.cast.services.database_url).path.removeprefix("/")


def freeze_intake(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Freeze an intake with a batch in hand, let another go beyond it, thaw the first."""
    prepare(exchange, "hub-intake-1", replacing)
    if replacing:
        # The role would protect as well: an intake cannot change a stretch that was consumed.
        group = name_group(_name_database(exchange), Role.INTAKE)
        exchange.observer.execute(f'GRANT SELECT, UPDATE ON watermark_interval TO "{group}"')
    exchange.rig.arm("hub-intake-1", "intake.before_transaction", number=signal.SIGSTOP)
    # Nothing that is refused: a late batch would fail at the quarantine's own key, and not for want of the watermark.
    first = exchange.natives.tell(exchange.natives.deal(APPLICATIONS))
    exchange.rig.wait_frozen("hub-intake-1", "intake.before_transaction")
    exchange.rig.start("hub-intake-2")
    exchange.settle([*first, *exchange.load(APPLICATIONS)])
    woken = exchange.rig.running["hub-intake-1"]
    told = len(woken.read_log())
    woken.thaw()
    wait_until("the late batch came to its end", lambda: _is_late(woken.read_log()[told:], exchange), TAKEOVER_LIMIT_S)
    retire(exchange, "hub-intake-2")
    return exchange.findings_in_the_end(limit_s=UNREST_LIMIT_S)


def _is_late(log: str, exchange: Exchange) -> bool:
    """Whether a late batch was dropped, alone or with its group, or was committed all the same."""
    dropped = "intake_superseded" in log or "intake_parts_group" in log
    return dropped or any(move.is_backwards for move in exchange.observer.read_moves())


def tell_twice(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Tell everything, and repeat some of it, byte for byte."""
    prepare(exchange, "hub-intake-1", replacing)
    if replacing:
        exchange.observer.execute("ALTER TABLE inbox DROP CONSTRAINT inbox_pkey, DROP CONSTRAINT inbox_sequence_key")
    exchange.settle(exchange.load(APPLICATIONS))
    exchange.natives.make_trouble()
    return exchange.findings_in_the_end(limit_s=UNREST_LIMIT_S)


def tell_all_at_once(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Let so much wait for an intake that it takes batches of the same new cases from every topic at once."""
    prepare(exchange, "hub-intake-1", [])
    exchange.settle()
    applications = exchange.natives.deal(CROWD)
    return _take_at_once(exchange, replacing, partial(exchange.natives.tell, applications))


def tell_more_at_once(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Let an intake take batches of the same known cases from every topic at once."""
    prepare(exchange, "hub-intake-1", [])
    applications = exchange.natives.deal(2 * CROWD)
    exchange.settle(exchange.natives.tell(applications, statements=False))
    return _take_at_once(exchange, replacing, partial(exchange.natives.tell_again, applications, KINDS))


def _take_at_once(exchange: Exchange, replacing: list[str], tell: Callable[[], "list[Future[None]]"]) -> list[str]:
    """Let all that is told wait until the intake comes."""
    exchange.rig.stop("hub-intake-1")
    before = _count_told(exchange.natives.books)
    for telling in tell():
        telling.result()
    told = _count_told(exchange.natives.books) - before
    wait_until("all is sent", lambda: exchange.observer.read_lag().untaken >= told, TAKEOVER_LIMIT_S)
    exchange.rig.extra["hub-intake-1"] = {"FAULT_GATHER": str(told)}
    exchange.rig.start("hub-intake-1", replacing=[*GATHERING, *replacing])
    found = exchange.findings_in_the_end(limit_s=UNREST_LIMIT_S)
    if not replacing:
        # The exchange goes on in another test, with an intake like any other.
        exchange.rig.stop("hub-intake-1")
        del exchange.rig.extra["hub-intake-1"]
        exchange.rig.start("hub-intake-1")
    return found


def _count_told(books: Books) -> int:
    return len(books.rows) + len(books.notified) + len(books.booked)


def freeze_relay(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Freeze a relay with its transaction open, let another take over, thaw it before the broker gives up.

    The transaction of a relay that is not fenced is still good then.
    """
    prepare(exchange, "hub-relay", replacing)
    start_second_relay(exchange, replacing)
    exchange.rig.arm("hub-relay", "relay.before_kafka_commit", number=signal.SIGSTOP)
    first = exchange.load(APPLICATIONS)
    exchange.rig.wait_frozen("hub-relay", "relay.before_kafka_commit")
    end_term(exchange)
    wait_until("the other has sent it all", lambda: exchange.observer.read_lag().unsent == 0, TAKEOVER_LIMIT_S)
    woken = exchange.rig.running["hub-relay"]
    told = len(woken.read_log())
    woken.thaw()
    wait_until("the relay has woken up", lambda: "session_lost" in woken.read_log()[told:], TAKEOVER_LIMIT_S)
    retire(exchange, "hub-relay-b")
    # Whatever the frozen one still wanted to do is done once it leads everything again.
    return exchange.findings_in_the_end([*first, *exchange.load(1)], limit_s=UNREST_LIMIT_S)


def lose_answers(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Let the answers to some commits get lost on their way to the relay."""
    prepare(exchange, "hub-relay", replacing)
    exchange.rig.stop("hub-relay")
    exchange.rig.start("hub-relay", replacing=[*LOST_ANSWERS, *replacing])
    return exchange.findings_in_the_end(exchange.load(APPLICATIONS), limit_s=2 * UNREST_LIMIT_S)


def kill_sender(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Kill a connector between the broker's acknowledgement and its own note of it."""
    prepare(exchange, "connector-ministry", replacing)
    exchange.settle(exchange.load(1))
    exchange.rig.arm("connector-ministry", "publish.after_send")
    telling = exchange.load(APPLICATIONS)
    exchange.rig.wait_death("connector-ministry", "publish.after_send")
    exchange.rig.start("connector-ministry", replacing=replacing)
    return exchange.findings_in_the_end(telling, limit_s=UNREST_LIMIT_S)


def repeat_delivery(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Put records of Immigration's stream there once more, as a relay without fencing would."""
    prepare(exchange, "connector-immigration", replacing)
    exchange.settle(exchange.load(APPLICATIONS))
    for sent in exchange.observer.observe().outbox:
        if sent.stream[0] == "to.immigration" and sent.typ == "recommendation":
            exchange.natives.send(_record_of(exchange, sent.seq))
    try:
        # The load that follows is queued behind the repeats.
        exchange.settle(exchange.load(1), limit_s=UNREST_LIMIT_S)
        wait_until("nothing is queued", lambda: _count_queued(exchange) == 0, UNREST_LIMIT_S)
    except NotReached as fault:
        return [f"8: {fault}"]
    repeats = exchange.natives.visa_book.count("repeats")
    return [f"3: the visa system was told {repeats} things again"] if repeats else []


def _count_queued(exchange: Exchange) -> float:
    return exchange.rig.read_figure("connector-immigration", "tkahub_connector_office_waiting")


def _record_of(exchange: Exchange, seq: int) -> RawRecord:
    rows = exchange.observer.fetch(
        "SELECT o.key, o.value, s.jws FROM outbox o JOIN outbox_signature s USING (topic, partition, seq)"
        " WHERE topic = 'to.immigration' AND seq = $1",
        seq,
    )
    key, value, jws = rows[0]
    headers = (
        ("content-type", CONTENT_TYPE),
        ("jws", jws.encode()),
        ("hub-seq", b"%d" % seq),
    )
    return RawRecord("to.immigration", key.encode(), value, headers)
