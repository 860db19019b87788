"""The people, employers and places that the scenario draws from. All of them are invented.

Province and regency codes are those of BPS (Peraturan BPS 3/2023), positions those of KBJI 2014,
sectors those of KBLI 2020.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from devstack.agencies.numbers import make_nib, make_npwp, make_passport

EMPLOYER_FORMS = ("PT", "PT", "PT", "CV")
EMPLOYER_WORDS = ("Sumber", "Karya", "Nusantara", "Cahaya", "Mitra", "Samudra", "Bintang", "Rimba", "Gemilang", "Tirta")
GIVEN_NAMES = {
    "CHN": ("Wei", "Fang", "Jun", "Li"),
    "JPN": ("Haruto", "Yui", "Kenji", "Aiko"),
    "KOR": ("Minjun", "Seoyeon", "Jiho", "Hana"),
    "IND": ("Arjun", "Priya", "Rahul", "Anika"),
    "D": ("Jonas", "Greta", "Lukas", "Mia"),
    "AUS": ("Oliver", "Isla", "Jack", "Ruby"),
    "PHL": ("Jose", "Maria", "Andres", "Luz"),
    "FRA": ("Louis", "Chloe", "Hugo", "Lea"),
}
FAMILY_NAMES = {
    "CHN": ("Zhang", "Chen", "Zhao"),
    "JPN": ("Sato", "Tanaka", "Ito"),
    "KOR": ("Kim", "Park", "Choi"),
    "IND": ("Sharma", "Patel", "Nair"),
    "D": ("Weber", "Fischer", "Vogel"),
    "AUS": ("Walker", "Kelly", "Brown"),
    "PHL": ("Reyes", "Cruz", "Santos"),
    "FRA": ("Moreau", "Girard", "Leroy"),
}
PLACES = (
    ("31", "3171", "KANIM-JAKARTA-SELATAN"),
    ("31", "3172", "KANIM-JAKARTA-TIMUR"),
    ("32", "3215", "KANIM-KARAWANG"),
    ("32", "3216", "KANIM-BEKASI"),
    ("32", "3273", "KANIM-BANDUNG"),
    ("35", "3578", "KANIM-SURABAYA"),
    ("36", "3671", "KANIM-TANGERANG"),
    ("51", "5171", "KANIM-DENPASAR"),
    ("64", "6471", "KANIM-BALIKPAPAN"),
    ("73", "7371", "KANIM-MAKASSAR"),
)
POSITIONS = (
    ("1120", "Direktur Utama", "direktur"),
    ("1321", "Manajer Produksi", "manajer"),
    ("2141", "Ahli Teknik Industri", "ahli"),
    ("2144", "Ahli Teknik Mesin", "ahli"),
    ("2151", "Ahli Teknik Listrik", "ahli"),
    ("2512", "Pengembang Perangkat Lunak", "staf"),
    ("3122", "Penyelia Pabrik", "penyelia"),
)
SECTORS = ("24202", "27102", "28299", "41011", "55110", "62019", "70209")


@dataclass(frozen=True, slots=True)
class Person:
    """A foreign worker as the ministry knows them."""

    name: str
    birth_date: date
    nationality: str
    passport: str

    def as_native(self) -> dict[str, str]:
        """Return the register's own form."""
        return {
            "nama": self.name,
            "tanggal_lahir": self.birth_date.isoformat(),
            "kewarganegaraan": self.nationality,
            "paspor": self.passport,
        }


@dataclass(frozen=True, slots=True)
class Employer:
    """An employer as the ministry knows it."""

    name: str
    nib: str
    npwp: str

    def as_native(self) -> dict[str, str]:
        """Return the register's own form."""
        return {"nama": self.name, "nib": self.nib, "npwp": self.npwp}


def draw_person(random: Random) -> Person:
    """Return an invented worker."""
    nationality = random.choice(sorted(GIVEN_NAMES))
    name = f"{random.choice(GIVEN_NAMES[nationality])} {random.choice(FAMILY_NAMES[nationality])}"
    born = date(1965, 1, 1) + timedelta(days=random.randrange(12_000))
    return Person(name, born, nationality, make_passport(random))


def draw_employer(random: Random) -> Employer:
    """Return an invented employer."""
    words = random.sample(EMPLOYER_WORDS, 2)
    name = f"{random.choice(EMPLOYER_FORMS)} {' '.join(words)}"
    return Employer(name, make_nib(random), make_npwp(random, long=random.random() < 0.5))
