"""A year of the permit service as its agencies would tell it: honest, uneven, and with whatever misdeed is asked for.

It knows the ways of offices and nothing of the exchange's rules: what it tells is what happened, with the moment at
which it happened and the moment at which the exchange learnt of it. Officers are unequal, files come in bursts before
holidays, one applicant in four owes a document, banks are away for days, employers change their minds.
"""

import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Set
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

#: Applications of a year: about 185,000 foreign workers were in work at the end of 2024, each asked for about once.
NATIONAL_FILES = 185_000
FILES_PER_UNIT = 1_000
FILES_PER_OFFICER = 165
MINISTRY = "https://ministry.example/tka"
IMMIGRATION = "https://immigration.example/tka"
HUB = "https://hub.example/tka"
BANKS = ("bri", "mandiri", "bni")
OPENS_UTC_H = 1
OFFICE_S = 8 * 3600
DOCUMENTS = ("IJAZAH", "KONTRAK", "PASPOR", "POLIS", "REKENING")
EXEMPT = ("government_agency", "foreign_representative", "religious_institution", "education")
REGENCIES = (("31", "3171"), ("31", "3174"), ("32", "3273"), ("35", "3578"), ("51", "5171"), ("72", "7206"))
NATIONS = ("CHN", "JPN", "KOR", "IND", "MYS", "PHL", "USA", "GBR")
SECTORS = ("24102", "28299", "41011", "62010", "85495")
LEVELS = ("expert", "manager", "director", "supervisor")
POSTS = ("2142", "2511", "1321", "2330")


class Told(NamedTuple):
    """Something that happened, and when the exchange learnt of it; `key` is a file or a billing code."""

    known_at: datetime
    time: datetime
    source: str
    id: str
    type: str
    key: str
    data: dict[str, Any]


class Office:
    """A unit with its officers: how fast each works, by how much the unit's usual time is multiplied."""

    def __init__(self, name: str, officers: list[tuple[str, float]]) -> None:
        self.name = name
        self.officers = officers


class File:
    """One application on its way through the offices."""

    def __init__(self, number: int, name: str, block: dict[str, Any], pace: float) -> None:
        self.number = number
        self.name = name
        self.block = block
        self.pace = pace
        self.held = {document: f"{number:032x}{place:032x}" for place, document in enumerate(DOCUMENTS)}
        self.post: dict[str, Any] = {}
        self.bill = f"8{number:014d}"
        self.basis: list[dict[str, Any]] = []
        self.revision = 0


class Year:
    """A year of so many files; the same seed tells the same year."""

    def __init__(self, seed: int, files: int, year: int, holidays: Set[str]) -> None:
        self._dice = random.Random(seed)
        self._days = _list_days(year, holidays)
        self._last = sum(1 for day in self._days if day.year == year)
        self._count = files
        self._told: list[Told] = []
        self._number = 0
        self._events = 0
        self.offices = self._open_offices()
        self._away = {bank: self._dice.randrange(20, self._last - 20) for bank in BANKS}

    def _open_offices(self) -> list[Office]:
        dice, offices = self._dice, []
        units = max(self._count // FILES_PER_UNIT, 4)
        each = max(self._count // units // FILES_PER_OFFICER, 3)
        for number in range(units):
            officers = [(f"officer-{number:03d}{place:03d}", dice.uniform(0.75, 1.35)) for place in range(each)]
            offices.append(Office(f"unit-{number:05d}", officers))
        return offices

    def tell(self, misdeeds: "Iterable[Misdeed]" = ()) -> list[Told]:
        """Everything that happened, in the order in which the exchange learnt of it."""
        weights = self._bursts()
        agents = [f"agent-{number:05d}" for number in range(max(self._count // 65, 8))]
        popular = [1 / (rank + 3) for rank in range(len(agents))]
        starts = self._dice.choices(range(self._last), weights, k=self._count)
        chosen = self._dice.choices(agents, popular, k=self._count)
        for day, agent in zip(starts, chosen, strict=True):
            self.honest(day + self._dice.random(), agent if self._dice.random() < 0.6 else None)
            if self._dice.random() < 0.02:
                self._come_again(day)
        for misdeed in misdeeds:
            misdeed(self)
        self._told.sort(key=lambda told: (told.known_at, told.id))
        return self._told

    def _bursts(self) -> list[float]:
        """How many files come on each working day: far more on the days before the offices close for long."""
        weights = [1.0] * self._last
        for place in range(self._last - 1):
            if (self._days[place + 1] - self._days[place]).days > 4:
                for before in range(max(place - 4, 0), place + 1):
                    weights[before] = 2.5
        return weights

    def moment(self, day: float) -> datetime:
        """A moment in office hours of a working day, counted from the first of the year."""
        place = min(int(day), len(self._days) - 1)
        opened = self._days[place]
        return datetime(opened.year, opened.month, opened.day, OPENS_UTC_H, tzinfo=UTC) + timedelta(
            seconds=int((day - int(day)) * OFFICE_S)
        )

    # What the offices do, one step each. A step takes the working day on which it happens.

    def open(self, day: float, agent: str | None, **others: Any) -> File:
        """An application is submitted."""
        dice = self._dice
        self._number += 1
        number = self._number
        office = others.pop("office", None) or dice.choice(self.offices)
        officer, pace = others.pop("officer", None) or dice.choice(office.officers)
        province, regency = dice.choice(REGENCIES)
        kind = others.pop("kind", None) or dice.choices(("new", "extension", "temporary"), (50, 35, 15))[0]
        name = f"B.3/{number:06d}/PK.04.00/{self._days[0].year}"
        block = {
            "application": name, "official": officer, "unit": office.name, "intermediary": agent,
            "worker": others.pop("worker", f"worker-{number:07d}"), "kbli": dice.choice(SECTORS), "province": province,
            "regency": regency, "position_level": dice.choice(LEVELS), "permit_kind": kind,
            "nationality": dice.choice(NATIONS),
        }  # fmt: skip
        file = File(number, name, block, pace)
        begins = others.pop("begins", None) or self.moment(day).date() + timedelta(days=45)
        months = others.pop("months", None) or (6 if kind == "temporary" else 12)
        file.post = {"from": begins.isoformat(), "until": _months_later(begins, months).isoformat(), "months": months}
        file.post["nib"] = others.pop("nib", f"9{dice.randrange(self._count // 3 + 1):012d}")
        at = self.moment(day)
        dates = {name: file.post[name] for name in ("from", "until")}
        held = [{"code": code, "sha256": digest} for code, digest in file.held.items()]
        today = at.date().isoformat()
        data = {**block, **dates, "application_date": today, "documents": held}
        file.basis.append(self.say(file, at, "ministry.permit.submitted", data, role="submission"))
        return file

    def say(self, file: File, at: datetime, name: str, data: dict[str, Any], **how: Any) -> dict[str, Any]:
        """Tell something of a file, and return it as a basis names it."""
        self._events += 1
        source = how.get("source", MINISTRY)
        kind, identity = f"id.tka.{name}.v1", f"e-{self._events:08d}"
        known_at = how.get("known_at") or at + timedelta(seconds=1)
        self._told.append(Told(known_at, at, source, identity, kind, how.get("key", file.name), data))
        return {"role": how.get("role", ""), "source": source, "id": identity, "type": kind}

    def step(self, file: File, day: float, name: str, **members: Any) -> dict[str, Any]:
        """A step of the handling by the file's officer."""
        block = {name: file.block[name] for name in ("application", "official", "unit", "intermediary")}
        return self.say(file, self.moment(day), name, block | members)

    def exempt(self, file: File, day: float, name: str) -> None:
        """The employer is told that it owes nothing."""
        granted = self.step(file, day, "ministry.exemption.granted", **{"class": name, "legal_basis": "PP 34/2021"})
        file.basis.append(granted | {"role": "exemption"})

    def ask(self, file: File, day: float, *documents: str) -> None:
        """The applicant is told what is missing."""
        missing = [{"code": "D01", "document": document} for document in documents]
        self.step(file, day, "ministry.permit.deficiency_notified", missing=missing)

    def answer(self, file: File, day: float, *documents: str) -> None:
        """The applicant hands these in anew."""
        for document in documents:
            file.held[document] = f"{self._dice.getrandbits(256):064x}"
        held = [{"code": code, "sha256": digest} for code, digest in file.held.items()]
        self.step(file, day, "ministry.permit.resubmitted", documents=held)

    def bill_it(self, file: File, day: float) -> None:
        """The compensation is billed."""
        at = self.moment(day)
        amount = f"{file.post['months'] * 100}.00"
        data = {
            "application": file.name, "billing_code": file.bill, "amount": amount, "currency": "USD",
            "usd_amount": amount, "expires_at": (at + timedelta(days=7)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "payer": "PT Maju Bersama",
        }  # fmt: skip
        file.basis.append(self.say(file, at, "ministry.billing.issued", data, role="bill"))

    def pay(self, file: File, day: float, **how: Any) -> datetime:
        """The bill is paid and booked; return when the exchange knows of it."""
        dice, bank = self._dice, self._dice.choice(BANKS)
        at = self.moment(day)
        # A bank that is away tells later, and dates rightly what it tells.
        back = self._away[bank] + 3
        known_at = self.moment(back) if self._away[bank] <= day < back else at + timedelta(seconds=2)
        data = {
            "billing_code": file.bill, "amount": f"{file.post['months'] * 100}.00", "currency": "USD",
            "ntpn": how.get("ntpn", f"{dice.getrandbits(64):016X}"), "bank_reference": f"REF {self._events:08d}",
        }  # fmt: skip
        where: dict[str, Any] = {"source": f"https://{bank}.example/tka", "key": file.bill, "role": "payment"}
        notified = how.get("notified", dice.random() < 0.98)
        if notified:
            file.basis.append(self.say(file, at, "bank.payment.received", data, known_at=known_at, **where))
        if how.get("booked", True):
            booked_at = self.moment(int(day) + (dice.random() < 0.3) + 0.95)
            booked_at = max(booked_at, at)
            late = max(known_at, booked_at + timedelta(minutes=5))
            booked = self.say(file, booked_at, "bank.payment.booked", data, known_at=late, **where)
            if not notified:
                file.basis.append(booked)
                known_at = late
        if how.get("reversed"):
            gone_at = at + timedelta(minutes=20)
            self.say(file, gone_at, "bank.payment.reversed", data, known_at=max(known_at, gone_at), **where)
        return known_at

    def approve(self, file: File, day: float) -> datetime:
        """The permit is approved."""
        at = self.moment(day)
        data = self._decided(file, at) | {"decision": f"KEP.{file.number}/{at.year}"}
        file.basis.append(self.say(file, at, "ministry.permit.approved", data, role="approval"))
        return at

    def _decided(self, file: File, at: datetime) -> dict[str, Any]:
        block = file.block
        return {
            **block, "decided_on": at.date().isoformat(), "from": file.post["from"], "until": file.post["until"],
            "employer": {"name": "PT Maju Bersama", "nib": file.post["nib"], "npwp": "0013121660091000"},
            "position": {"kbji": POSTS[file.number % len(POSTS)], "title": "Tenaga Ahli"},
            "places": [{"province": block["province"], "regency": block["regency"]}], "kanim": "JKT-SELATAN",
        }  # fmt: skip

    def end(self, file: File, day: float, name: str) -> datetime:
        """The application is rejected or the permit revoked; return when."""
        at = self.moment(day)
        data = {**file.block, "decision": f"KEP.{file.number}/{at.year}/X", "reason_code": "R01"}
        self.say(file, at, f"ministry.permit.{name}", data)
        return at

    def recommend(self, file: File, at: datetime) -> datetime:
        """The exchange issues its recommendation; return when."""
        at += timedelta(seconds=3)
        file.revision += 1
        self.say(file, at, "hub.recommendation.issued", self._recommendation(file, "issued"), source=HUB)
        return at

    def withdraw(self, file: File, at: datetime) -> datetime:
        """The exchange withdraws its recommendation; return when."""
        at += timedelta(seconds=3)
        data = self._recommendation(file, "withdrawn") | {"reason": "permit_revoked"}
        self.say(file, at, "hub.recommendation.withdrawn", data, source=HUB)
        return at

    def _recommendation(self, file: File, state: str) -> dict[str, Any]:
        return {
            "number": f"TKA-{file.number:012X}", "revision": file.revision, "state": state, "application": file.name,
            "basis": [*file.basis],
        }  # fmt: skip

    def immigration(self, file: File, when: datetime, name: str, **members: Any) -> None:
        """Immigration answers."""
        data = {"application": file.name, "number": f"TKA-{file.number:012X}", "revision": file.revision, **members}
        self.say(file, when, f"immigration.{name}", data, source=IMMIGRATION)

    def day_of(self, at: datetime) -> float:
        """The working day on which offices can go on after a moment."""
        place = min(bisect_left(self._days, at.date()), len(self._days) - 1)
        if self.moment(place + 0.999) < at:
            place += 1
        passed = (at - self.moment(place)).total_seconds() / OFFICE_S
        return place + min(max(passed, 0.0), 0.999)

    # Whole files.

    def honest(self, day: float, agent: str | None, **others: Any) -> File:
        """A file that nobody does wrong by, from its submission to wherever it goes."""
        file = self.open(day, agent, **others)
        done = self.complete(file, day)
        if done is not None:
            self.decide(file, done)
        return file

    def _come_again(self, day: float) -> None:
        """A worker comes twice for a short time, with enough time between that nobody may call it one stay."""
        begins = self.moment(day).date() + timedelta(days=40)
        first = self.honest(day, None, kind="temporary", begins=begins, months=3)
        same = {"worker": first.block["worker"], "nib": first.post["nib"]}
        self.honest(day + 20, None, kind="temporary", begins=_months_later(begins, 3) + timedelta(days=50), **same)

    def complete(self, file: File, day: float) -> float | None:
        """The file is looked at until it is complete; return when, or None if the applicant gives up."""
        dice = self._dice
        day += dice.uniform(0.1, 1.8)
        if dice.random() < 0.25:
            document = dice.choice(DOCUMENTS)
            self.ask(file, day, document)
            for again in (True, False):
                if dice.random() < 0.04:
                    return None
                day += dice.uniform(0.5, 9)
                self.answer(file, day, document)
                day += dice.uniform(0.1, 1.2)
                if not again or dice.random() > 0.15:
                    break
                # What was handed in is wrong once more.
                self.ask(file, day, document)
        self.step(file, day, "ministry.permit.completed")
        return day

    def decide(self, file: File, day: float, **how: Any) -> None:
        """The file is assessed, paid and decided, and goes on to Immigration."""
        dice = self._dice
        self.step(file, day + 0.02, "ministry.permit.feasibility_assessed", result="pass")
        took = how.get("took") or min(dice.lognormvariate(-0.25, 0.4), 2.4) * file.pace
        if dice.random() < how.get("rejects", 0.04):
            self.end(file, day + took, "rejected")
            return
        if dice.random() < how.get("exempts", 0.03):
            self.exempt(file, day + 0.03, dice.choice(EXEMPT))
            known_at = self.moment(day)
        else:
            self.bill_it(file, day + 0.05)
            if dice.random() < how.get("unpaid", 0.04):
                expired = {"application": file.name, "billing_code": file.bill}
                self.say(file, self.moment(day + 0.05) + timedelta(days=7), "ministry.billing.expired", expired)
                return
            known_at = self.settle(file, day)
        approved_at = self.approve(file, max(day + took, self.day_of(known_at) + 0.02))
        self.go_on(file, self.recommend(file, max(known_at, approved_at)))

    def settle(self, file: File, day: float) -> datetime:
        """The applicant pays; now and then a payment is taken back within minutes and made again."""
        day += self._dice.uniform(0.06, 0.5)
        if self._dice.random() < 0.01:
            self.pay(file, day, notified=True, booked=False, reversed=True)
            file.basis.pop()
            return self.pay(file, day + 0.1, notified=True)
        return self.pay(file, day)

    def go_on(self, file: File, at: datetime) -> None:
        """Immigration decides on the visa; some employers change their minds on the way."""
        dice = self._dice
        self.immigration(file, at + timedelta(minutes=2), "recommendation.acknowledged")
        visa_at = at + timedelta(days=dice.uniform(0.5, 4))
        if dice.random() < 0.02:
            self._give_up(file, at, visa_at)
        elif dice.random() < 0.03:
            self.immigration(file, visa_at, "visa.refused", reason_code="V9")
        else:
            self.immigration(file, visa_at, "visa.approved", valid_until=file.post["until"])
            entered_at = visa_at + timedelta(days=dice.uniform(3, 40))
            moment = entered_at.strftime("%Y-%m-%dT%H:%M:%SZ")
            self.immigration(file, entered_at, "entry.recorded", at=moment)
            stays_at = entered_at + timedelta(days=dice.uniform(0.2, 2))
            self.immigration(file, stays_at, "stay_permit.issued", valid_until=file.post["until"])

    def _give_up(self, file: File, at: datetime, visa_at: datetime) -> None:
        """The employer withdraws honestly: before the visa, or with a visa that is taken back in time."""
        late = self._dice.random() < 0.5
        if late:
            self.immigration(file, visa_at, "visa.approved", valid_until=file.post["until"])
        day = self.day_of(visa_at if late else at) + 1
        gone_at = self.withdraw(file, self.end(file, day, "revoked"))
        self.immigration(file, gone_at + timedelta(minutes=5), "recommendation.acknowledged")
        if late:
            self.immigration(file, self.moment(day + self._dice.uniform(0.5, 3)), "visa.revoked", reason_code="V1")


Misdeed = Callable[[Year], None]


def _list_days(year: int, holidays: Set[str]) -> list[date]:
    """The working days of a year and of the half year after it."""
    every = (date(year, 1, 1) + timedelta(days=number) for number in range(365 + 180))
    return [day for day in every if day.weekday() < 5 and day.isoformat() not in holidays]


def _months_later(day: date, months: int) -> date:
    place = day.month - 1 + months
    return date(day.year + place // 12, place % 12 + 1, min(day.day, 28))
