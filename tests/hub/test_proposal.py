"""What persons signed counts under the root documents that they were shown, and under no others."""

from typing import Any

import pytest

from contracts.errors import Code, RegistryError
from contracts.registry import Registry, seal_registry
from hub.proposal import Proposal
from tests.contracts import root_world
from tests.contracts import vector_world as world
from tests.contracts.root_world import PERSONS, chain_of, extend
from tests.contracts.vector_world import NOW, ROOT, Json

FIRST = chain_of()
#: All three must sign from now on.
STRICTER = extend(FIRST, threshold=3)
BASE = world.signed(world.document(), ROOT)


def _proposal(roots: list[Json], **changes: Any) -> Proposal:
    members = {"version": 8, "root": root_world.read(roots).sha256}
    return Proposal.of(BASE, roots, {**world.document(), **members, **changes})


def _signed(proposal: Proposal, *names: str) -> Proposal:
    for name in names:
        proposal = proposal.sign(PERSONS[name], ROOT.public, NOW)
    return proposal


@pytest.mark.parametrize(("shown", "swapped"), [(STRICTER, FIRST), (FIRST, STRICTER)], ids=["shorter", "longer"])
def test_signatures_do_not_serve_under_another_chain(shown: list[Json], swapped: list[Json]) -> None:
    proposal = _signed(_proposal(shown), "sari", "budi", "wayan")
    assert Registry.read(proposal.signed(), ROOT.public).version == 8
    with pytest.raises(RegistryError) as caught:
        Registry.read(seal_registry(proposal.act, swapped), ROOT.public)
    assert caught.value.code == Code.ROOT_ROLLBACK


def test_two_signatures_where_three_must_do_not_become_enough() -> None:
    proposal = _signed(_proposal(STRICTER), "sari", "budi")
    for chain, code in ((STRICTER, Code.PERSONS_TOO_FEW), (FIRST, Code.ROOT_ROLLBACK)):
        with pytest.raises(RegistryError) as caught:
            Registry.read(seal_registry(proposal.act, chain), ROOT.public)
        assert caught.value.code == code


@pytest.mark.parametrize("named", [None, "0" * 64, root_world.read(FIRST).sha256])
def test_nobody_signs_a_document_that_does_not_name_its_root_document(named: str | None) -> None:
    with pytest.raises(RegistryError) as caught:
        _signed(_proposal(STRICTER, root=named), "sari")
    assert caught.value.code == Code.ROOT_ROLLBACK
