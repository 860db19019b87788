"""What operators did, as the oversight body's monitor judges it from the log alone."""

import pytest

from contracts.log import entry
from tests.oversight.watch import Watch

NAME = f"repair/4/{'0f' * 32}"
MESSAGE = f"{NAME}/quarantine/17"
ASKED, APPROVED = ("repair_requested", NAME, "siti"), ("repair_approved", NAME, "budi")
RESENT = ("resend", MESSAGE, "siti budi")
STOPPED, FINISHED = ("repair_stopped", NAME, "budi"), ("repair_finished", NAME, "siti budi")


def tell(watch: Watch, *actions: tuple[str, str, str]) -> list[str]:
    """Let the log hold these actions; return the codes of the alarms."""
    for action, subject, actor in actions:
        watch.world.append(
            entry.operator_action(action=action, subject=subject, actor=actor, reason="a reason", at=watch.world.now)
        )
    watch.publish()
    return sorted(watch.look())


def test_what_two_persons_wanted_is_followed_in_silence(watch: Watch) -> None:
    assert tell(watch, ("look", "quarantine/17", "siti"), ASKED) == []
    assert tell(watch, APPROVED, RESENT) == []
    assert tell(watch, ("resend", f"{NAME}/quarantine/18", "siti budi"), FINISHED) == []
    assert tell(watch, ("send_back", "quarantine/19", "siti")) == []


@pytest.mark.parametrize(
    "actions",
    [
        [RESENT],
        [ASKED, RESENT],
        [("repair_approved", NAME, "budi"), RESENT],
        [ASKED, ("repair_approved", NAME, "siti")],
        [ASKED, APPROVED, STOPPED, RESENT],
        [ASKED, APPROVED, FINISHED, RESENT],
        [ASKED, APPROVED, ("resend", MESSAGE, "siti wayan")],
        [ASKED, APPROVED, ("resend", f"repair/5/{'0f' * 32}/quarantine/17", "siti budi")],
        [ASKED, APPROVED, ("resend", "quarantine/17", "siti budi")],
    ],
)
def test_what_no_second_person_wanted_is_an_alarm(watch: Watch, actions: list[tuple[str, str, str]]) -> None:
    assert tell(watch, *actions) == ["repair_unapproved"]
