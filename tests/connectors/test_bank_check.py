"""`check` of a bank: whose money its profiles report, compared with what the registry lets it report."""

import pytest

from connectors.bank.check import check_codes
from connectors.bank.profile import Partners
from contracts.registry import Registry
from tests.connectors.parties import World
from tests.connectors.snap_bench import partner
from tests.contracts.root_world import write_registry


def registry_with(**codes: str | None) -> Registry:
    """Return a registry with these banks, by the bank code of each."""
    world = World()
    document = world.document()
    [bri] = [party for party in document["participants"] if party["id"] == "bri"]
    others = [party for party in document["participants"] if party["id"] != "bri"]
    banks = [
        bri | {"id": name, "bank_code": code, "sources": [f"https://{name}.example/tka"]}
        | ({} if name == "bri" else {"keys": []})
        for name, code in codes.items()
    ]  # fmt: skip
    return Registry.read(write_registry(document | {"participants": [*others, *banks]}, world.root), world.root.public)


@pytest.mark.parametrize(
    ("banks", "profiles", "says"),
    [
        ({"bri": "002"}, ["002"], None),
        ({"bri": "002"}, ["008"], "names bank 008, and the registry has bri as bank 002"),
        ({"bri": "002", "mandiri": "008"}, ["008"], "names bank 008, and the registry has bri as bank 002"),
        ({"bri": None, "mandiri": "008"}, ["014", "022"], None),
        ({"bri": None, "mandiri": "008"}, ["014", "008"], "names bank 008, which is the participant mandiri itself"),
    ],
)
def test_bank_codes_are_compared_with_the_registry(
    banks: dict[str, str | None], profiles: list[str], says: str | None
) -> None:
    partners = Partners(tuple(partner(partner_id=f"P-{code}", bank_code=code) for code in profiles))
    [finding] = check_codes(partners, registry_with(**banks), "bri")
    if says is None:
        assert finding.verdict == "ok"
    else:
        assert finding.verdict == "wrong"
        assert says in finding.says
        assert "bank_not_owned" in finding.says


def test_participant_that_the_registry_does_not_know_is_told_of_once_by_the_link() -> None:
    assert check_codes(Partners((partner(),)), registry_with(mandiri="008"), "bri") == []
