"""Who receives what: subscriptions, their filters, and the stream that a key always falls to."""

from typing import Any

import pytest

from contracts.registry import Registry
from contracts.wire.key import PrivateKey
from hub.routes import OF_ONE_BANK, Routes, Stream
from hub.step import BILL_OPENED, ISSUED, OUTCOME, RECEIPT, Event
from tests.contracts.root_world import write_registry
from tests.hub.world import World

HEARD = (*OF_ONE_BANK, BILL_OPENED, ISSUED, RECEIPT, "id.tka.immigration.visa.approved.v1")


def routes(filters: dict[str, Any] | None = None, partitions: int = 1) -> Routes:
    """Return the routes of an exchange in which everybody hears everything, as far as `filters` lets it."""
    kinds = {
        "ministry": "ministry",
        "bri": "bank",
        "mandiri": "bank",
        "immigration": "immigration",
        "deaf": "oversight",
    }
    participants: list[dict[str, Any]] = [
        {"id": name, "kind": kind, "name": name, "bank_code": None, "sources": [], "keys": [], "publishes": []}
        | {"subscribes": [{"type": heard, "filter": filters or {}} for heard in HEARD]}
        for name, kind in kinds.items()
    ]
    topics = {f"to.{name}": partitions for name in kinds if name != "deaf"} | {"recommendations": 3}
    root = PrivateKey.generate("ES256")
    document = World().document(participants=participants, topics=topics)
    return Routes(Registry.read(write_registry(document, root), root.public))


def event(event_type: str, reporter: str | None = None, **data: Any) -> Event:
    return Event(event_type, "SUBJECT", "SUBJECT", None, "", data, reporter)


def topics(streams: list[Stream]) -> list[str]:
    return [stream.topic for stream in streams]


@pytest.mark.parametrize("event_type", sorted(OF_ONE_BANK))
def test_a_bank_hears_of_its_own_money_alone(event_type: str) -> None:
    heard = topics(routes().of_event(event(event_type, "bri")))
    assert heard == ["to.bri", "to.immigration", "to.ministry"]


def test_every_bank_hears_of_a_bill() -> None:
    assert {"to.bri", "to.mandiri"} <= set(topics(routes().of_event(event(BILL_OPENED))))


def test_a_receipt_goes_to_its_sender_alone() -> None:
    assert routes().of_event(event(RECEIPT)) == []
    assert routes().of_receipt("bri") == Stream("to.bri", 0)
    assert routes().of_receipt("deaf") is None


def test_the_home_of_a_recommendation_comes_first() -> None:
    assert topics(routes().of_event(event(ISSUED)))[0] == "recommendations"


@pytest.mark.parametrize(
    ("filters", "heard"),
    [
        ({"kanim": ["BANDUNG"]}, False),
        ({"kanim": ["JKT-SELATAN", "BANDUNG"]}, True),
        ({"regency": ["3273"]}, False),
        ({"regency": ["3171"]}, True),
        ({"regency": ["3174"]}, True),
        ({"kanim": ["BANDUNG"], "regency": ["3171"]}, False),
    ],
)
def test_a_filter_grants_a_part(filters: dict[str, list[str]], heard: bool) -> None:
    places = [{"province": "31", "regency": "3171"}]
    data: dict[str, Any] = {"kanim": "JKT-SELATAN", "places": places, "regency": "3174"}
    granted = routes(filters)
    assert (Stream("to.immigration", 0) in granted.of_event(event(ISSUED, **data))) == heard
    assert bool(granted.of_original("id.tka.immigration.visa.approved.v1", "x", "KEY", data)) == heard


def test_an_original_never_goes_back_to_its_sender() -> None:
    forwarded = topics(routes().of_original("id.tka.immigration.visa.approved.v1", "immigration", "KEY", {}))
    assert forwarded == ["to.bri", "to.mandiri", "to.ministry"]


def test_a_key_keeps_to_its_partition() -> None:
    granted = routes(partitions=7)
    streams = {granted.of_event(event(OUTCOME, "bri"))[0] for _ in range(5)}
    assert len(streams) == 1
    assert len(list(granted.all_outputs())) == 28
