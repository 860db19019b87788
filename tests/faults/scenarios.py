"""Scenarios that only an exchange with all of its protections comes through without a finding.

Each takes the rules of FAULT_REPLACE for the process that it is about, and returns what the invariants find in the end.
"""

import signal

from devstack.demonstration.forgery import CONTENT_TYPE, RawRecord
from devstack.ports import find_free_ports
from tests.faults.background import wait_until
from tests.faults.exchange import Exchange

REPLACEMENTS = "tests.faults.replacements"
LOST_ANSWERS = [f"hub.relay:AIOKafkaProducer={REPLACEMENTS}:ForgottenProducer"]
APPLICATIONS = 4
CROWD = 16
# Without a protection an exchange may never come to rest: long enough for a sound one, as the sound runs show.
UNREST_LIMIT_S = 20.0
TAKEOVER_LIMIT_S = 30.0


def start_second_relay(exchange: Exchange) -> None:
    """Start another relay, under the name `hub-relay-b`."""
    exchange.rig.extra["hub-relay-b"] = {"METRICS_PORT": str(find_free_ports(1)[0])}
    exchange.rig.start("hub-relay-b")


def end_term(exchange: Exchange) -> None:
    """End the session that holds the locks of a frozen relay, as the server does by itself ten seconds later."""
    exchange.observer.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'hub-relay' AND datname = current_database()"
    )


def freeze_intake(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Freeze an intake with a batch in hand, let another go beyond it, thaw the first."""
    exchange.begin(but=["hub-intake-1"])
    exchange.rig.start("hub-intake-1", replacing=replacing)
    exchange.rig.wait_ready("hub-intake-1")
    exchange.rig.arm("hub-intake-1", "intake.before_transaction", number=signal.SIGSTOP)
    first = exchange.load(APPLICATIONS)
    exchange.rig.wait_frozen("hub-intake-1", "intake.before_transaction")
    exchange.rig.start("hub-intake-2")
    exchange.settle([*first, *exchange.load(APPLICATIONS)])
    exchange.rig.running["hub-intake-1"].thaw()
    woken = exchange.rig.running["hub-intake-1"]
    wait_until("the intake has woken up", lambda: _has_woken(woken.read_log(), exchange), TAKEOVER_LIMIT_S)
    return exchange.findings_in_the_end(limit_s=UNREST_LIMIT_S)


def _has_woken(log: str, exchange: Exchange) -> bool:
    """Whether a late batch was dropped, or has changed something."""
    behind = exchange.observer.read_lag().untaken != 0
    return "intake_superseded" in log or "intake_poison" in log or behind or bool(exchange.rig.check_alive())


def tell_twice(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Tell everything, and repeat some of it, byte for byte."""
    exchange.begin(but=["hub-intake-1"])
    exchange.rig.start("hub-intake-1", replacing=replacing)
    if replacing:
        exchange.observer.execute("ALTER TABLE inbox DROP CONSTRAINT inbox_pkey, DROP CONSTRAINT inbox_sequence_key")
    exchange.settle(exchange.load(APPLICATIONS))
    exchange.natives.make_trouble()
    return exchange.findings_in_the_end(limit_s=UNREST_LIMIT_S)


def tell_all_at_once(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Let so much wait for an intake that it takes batches of the same cases from every topic at the same moment."""
    exchange.begin(but=["hub-intake-1"])
    telling = exchange.load(CROWD)
    for future in telling:
        future.result()
    wait_until("everything is sent", lambda: _all_sent(exchange), UNREST_LIMIT_S)
    exchange.rig.start("hub-intake-1", replacing=replacing)
    return exchange.findings_in_the_end(limit_s=UNREST_LIMIT_S)


def _all_sent(exchange: Exchange) -> bool:
    """Whether every connector has sent all that it was told, which nobody takes yet."""
    books = exchange.natives.books
    told = len(books.rows) + len(books.notified) + len(books.booked)
    with_others = told + len(books.refused) + len(books.repeated)
    return exchange.observer.read_lag().untaken >= with_others


def freeze_relay(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Freeze a relay with a shipment in hand, let another take over, thaw the first."""
    exchange.begin(but=["hub-relay"])
    exchange.rig.start("hub-relay", replacing=replacing)
    exchange.rig.wait_ready("hub-relay")
    exchange.rig.arm("hub-relay", "relay.before_send", hit=2, number=signal.SIGSTOP)
    first = exchange.load(APPLICATIONS)
    exchange.rig.wait_frozen("hub-relay", "relay.before_send")
    end_term(exchange)
    start_second_relay(exchange)
    exchange.settle(first)
    exchange.rig.running["hub-relay"].thaw()
    wait_until(
        "the relay has woken up",
        lambda: "session_lost" in exchange.rig.running["hub-relay"].read_log(),
        TAKEOVER_LIMIT_S,
    )
    exchange.rig.stop("hub-relay-b")
    del exchange.rig.running["hub-relay-b"]
    return exchange.findings_in_the_end(exchange.load(APPLICATIONS), limit_s=UNREST_LIMIT_S)


def lose_answers(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Let the answer to some commits get lost on its way to the relay."""
    exchange.begin(but=["hub-relay"])
    exchange.rig.start("hub-relay", replacing=[*LOST_ANSWERS, *replacing])
    exchange.settle(exchange.load(APPLICATIONS))
    return exchange.findings_in_the_end(exchange.load(APPLICATIONS), limit_s=UNREST_LIMIT_S)


def kill_sender(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Kill a connector between the broker's acknowledgement and its own note of it."""
    exchange.begin(but=["connector-ministry"])
    exchange.rig.start("connector-ministry", replacing=replacing)
    exchange.rig.wait_ready("connector-ministry")
    exchange.settle(exchange.load(1))
    exchange.rig.arm("connector-ministry", "publish.after_send")
    telling = exchange.load(APPLICATIONS)
    exchange.rig.wait_death("connector-ministry", "publish.after_send")
    exchange.rig.start("connector-ministry", replacing=replacing)
    return exchange.findings_in_the_end(telling, limit_s=UNREST_LIMIT_S)


def repeat_delivery(exchange: Exchange, replacing: list[str]) -> list[str]:
    """Put a record of Immigration's stream there once more, as a relay without fencing would."""
    exchange.begin(but=["connector-immigration"])
    exchange.rig.start("connector-immigration", replacing=replacing)
    exchange.settle(exchange.load(APPLICATIONS))
    for sent in exchange.observer.observe().outbox:
        if sent.stream[0] == "to.immigration" and sent.typ == "recommendation":
            exchange.natives.send(_record_of(exchange, sent.seq))
    # The load that follows is delivered behind the repeats.
    exchange.settle(exchange.load(1))
    repeats = exchange.natives.visa_book.count("repeats")
    return [f"the visa system was told {repeats} things again"] if repeats else []


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
