"""Identity and treasury numbers with check digits, made by the agencies' own arithmetic.

Sources: PMK 112/2022 (NPWP of 15 and 16 digits), PP 5/2021 (NIB of 13 digits), ICAO 9303 part 3 section 4.9
(check digit with weights 7-3-1), PMK 115/2017 (NTPN of 16 characters, billing code of 15 digits).
"""

from random import Random

NTPN_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
ICAO_WEIGHTS = (7, 3, 1)


def luhn_digit(digits: str) -> str:
    """Return the digit that makes `digits` plus itself pass the Luhn check (ISO/IEC 7812-1 annex B)."""
    total = 0
    for place, character in enumerate(reversed(digits)):
        doubled = int(character) * (2 if place % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def icao_digit(text: str) -> str:
    """Return the machine-readable zone's check digit of `text` (A-Z count 10 to 35, the filler 0)."""
    values = (0 if character == "<" else int(character, 36) for character in text)
    return str(sum(value * ICAO_WEIGHTS[place % 3] for place, value in enumerate(values)) % 10)


def make_npwp(random: Random, long: bool) -> str:
    """Return a taxpayer number: 15 digits, or the same behind a leading zero when `long`."""
    body = f"0{random.randrange(10**7):07d}"
    short = f"{body}{luhn_digit(body)}{random.randrange(1, 999):03d}000"
    return f"0{short}" if long else short


def make_nib(random: Random) -> str:
    """Return a business identity number of 13 digits."""
    return f"{random.randrange(1, 9)}{random.randrange(10**12):012d}"


def make_passport(random: Random) -> str:
    """Return a passport number as in the machine-readable zone: nine characters and their check digit."""
    number = "".join(random.choices("ABCDEFGHJKLMNPRSTUVWXYZ", k=2)) + f"{random.randrange(10**7):07d}"
    return number + icao_digit(number)


def make_ntpn(random: Random) -> str:
    """Return a treasury receipt number of 16 characters."""
    return "".join(random.choices(NTPN_ALPHABET, k=16))


def make_opaque(random: Random, prefix: str) -> str:
    """Return a pseudonym that only its maker can resolve."""
    return f"{prefix}_{random.getrandbits(80):020x}"
