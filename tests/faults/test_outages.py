"""Each of the five parts away for three days: nothing is lost or doubled, and time is right when all comes to rest."""

from functools import partial
from pathlib import Path

import httpx

from devstack.kafka import Kafka, start_kafka
from devstack.postgres import Postgres, start_postgres
from devstack.run import Run
from tests.faults.background import wait_until
from tests.faults.outages import SETTLE_LIMIT_S, open_outage
from tests.faults.rig import HUB

APPLICATIONS = 4
# The ministry's messages are still there when the hub comes back, and have expired since they reached Kafka.
DELETED = ("from.bri", "from.mandiri", "from.immigration")
OUTPUT = "to.immigration"


def test_an_agencys_system_is_away(kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path) -> None:
    with open_outage(kafka_cluster, postgres_server, tmp_path) as outage:
        exchange = outage.exchange
        exchange.natives.visa_door.close()
        outage.waiting.pay()
        outage.tell(APPLICATIONS)
        queued = partial(exchange.rig.read_figure, "connector-immigration", "tkahub_connector_office_waiting")
        wait_until("all is queued", lambda: queued() == APPLICATIONS + 1, SETTLE_LIMIT_S)
        outage.pass_three_days()
        status = f"{exchange.rig.url('connector-immigration')}/readyz"
        wait_until("it is told", lambda: "takes nothing" in str(httpx.get(status).json()["notes"]), SETTLE_LIMIT_S)
        exchange.natives.visa_door.open()
        assert outage.findings() == []


def test_a_connector_is_away_for_longer_than_its_topic_keeps(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path
) -> None:
    with open_outage(kafka_cluster, postgres_server, tmp_path) as outage:
        exchange = outage.exchange
        exchange.rig.kill("connector-immigration")
        outage.waiting.pay()
        outage.tell(APPLICATIONS)
        issued = "SELECT count(*) FROM outbox WHERE topic = 'recommendations'"
        told = partial(len, exchange.natives.books.applications)
        wait_until("all is decided", lambda: exchange.observer.fetch(issued)[0][0] == told(), SETTLE_LIMIT_S)
        wait_until("all is released", lambda: exchange.observer.read_lag().unsent == 0, SETTLE_LIMIT_S)
        assert outage.delete_records(OUTPUT) > 0
        outage.pass_three_days()
        outage.start("connector-immigration")
        assert outage.findings(deleted=[OUTPUT]) == []


def test_the_hub_is_away_for_longer_than_its_topics_keep(
    kafka_cluster: Kafka, postgres_server: Postgres, tmp_path: Path
) -> None:
    with open_outage(kafka_cluster, postgres_server, tmp_path) as outage:
        exchange = outage.exchange
        exchange.rig.stop(*HUB)
        outage.waiting.pay()
        outage.tell(APPLICATIONS)
        outage.wait_sent("ministry", "bri", "mandiri")
        assert outage.delete_records(*DELETED) > 0
        outage.pass_three_days()
        outage.start(*HUB)
        assert outage.findings(lost=DELETED) == []
        lost = exchange.observer.fetch("SELECT count(*) FROM watermark_interval WHERE kind = 'lost'")
        assert lost[0][0] >= len(DELETED)
        assert exchange.rig.read_figure("hub-intake-1", "hub_intake_lost_total") > 0
        assert exchange.rig.read_figure("hub-deadlines", "hub_lost_unacknowledged") == lost[0][0]


def test_kafka_is_away(postgres_server: Postgres, tmp_path: Path) -> None:
    with Run() as run:
        kafka = start_kafka(run, brokers=1)
        with open_outage(kafka, postgres_server, tmp_path) as outage:
            [broker] = kafka.brokers
            broker.stop()
            outage.waiting.pay()
            outage.tell(APPLICATIONS)
            outage.wait_spooled("ministry", APPLICATIONS)
            outage.wait_spooled("bri", 1)
            outage.pass_three_days()
            broker.start()
            kafka.wait_until_ready()
            assert outage.findings() == []
        kafka.close()


def test_postgresql_is_away_for_longer_than_the_topics_keep(kafka_cluster: Kafka, tmp_path: Path) -> None:
    with Run() as run:
        postgres = start_postgres(run)
        with open_outage(kafka_cluster, postgres, tmp_path) as outage:
            exchange = outage.exchange
            applications = exchange.natives.deal(APPLICATIONS)
            # The ministry's register is in the same PostgreSQL, so that its rows come first.
            exchange.natives.write_rows(exchange.natives.rows_of(applications))
            outage.wait_sent("ministry")
            assert postgres.server is not None
            postgres.server.stop()
            for application in applications:
                exchange.natives.books.applications[application.number] = application
            for report in exchange.natives.reports_of(applications):
                if report.channel == "notification":
                    exchange.natives.notify(report)
            outage.waiting.pay()
            outage.wait_sent("bri", "mandiri")
            outage.delete_records("from.bri", "from.mandiri")
            outage.pass_three_days()
            postgres.server.start()
            postgres.wait_until_ready()
            exchange.settle(exchange.natives.tell_again(applications, []), SETTLE_LIMIT_S)
            assert outage.findings(lost=["from.bri", "from.mandiri"]) == []
        postgres.close()
