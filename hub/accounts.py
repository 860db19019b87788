"""Who people are: accounts with a password, what each role may be narrowed to, and sessions.

A name that nobody has costs as much time as a wrong password, and is told in the same words.
"""

import asyncio
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from hub.store import accounts
from hub.store.accounts import Account, Session
from hub.store.database import Database

# OWASP's second choice: 19 MiB and two passes cost some 20 ms, and eight at once stay below 160 MiB.
PASSWORD_MEMORY_KIB = 19_456
PASSWORD_PASSES = 2
PASSWORD_CHARACTERS_MIN = 12
PASSWORD_CHARACTERS_MAX = 256
HASHES_AT_ONCE_MAX = 4
TOKEN_BYTES = 32
# OpenID Connect Core 1.0 section 2.
SUBJECT_CHARACTERS_MAX = 255
SESSION_LIFETIME = timedelta(hours=8)
SESSION_IDLE = timedelta(minutes=30)
APPLICANT_LIFETIME = timedelta(hours=1)
# To note each use would write a row for every page.
SEEN_AGAIN_AFTER = timedelta(minutes=1)
ATTEMPTS_WINDOW = timedelta(minutes=15)
FAILED_OF_ADDRESS_MAX = 30
FAILED_OF_SUBJECT_MAX = 10
_NAME = re.compile(r"[a-z][a-z0-9._-]{1,62}")
_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_hasher = PasswordHasher(time_cost=PASSWORD_PASSES, memory_cost=PASSWORD_MEMORY_KIB, parallelism=1)
_hashing = asyncio.Semaphore(HASHES_AT_ONCE_MAX)


class Role(StrEnum):
    """What an account is for. An applicant has no account, but the number and secret of one application."""

    OFFICER = "officer"
    BANK = "bank"
    IMMIGRATION = "immigration"
    LABOUR_OFFICE = "labour_office"
    OVERSIGHT = "oversight"
    MINISTER = "minister"
    OPERATOR = "operator"
    APPLICANT = "applicant"


ACCOUNT_ROLES = frozenset(Role) - {Role.APPLICANT}
#: Whose account answers for one participant, and sees no other's.
OF_A_PARTICIPANT = frozenset((Role.BANK, Role.LABOUR_OFFICE))


class AccountInvalid(Exception):
    """An account cannot be made like this; the message says why."""


class AttemptRefused(Exception):
    """Name and password, or number and secret, do not belong together."""


class AttemptsLimited(Exception):
    """Too many attempts failed lately: nothing is even looked at."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks. `name` is the account's; an applicant has none."""

    role: Role
    name: str | None = None
    unit: str | None = None
    participant: str | None = None
    application: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt at a door: `account` or `application`, on a name or number, from an address."""

    door: str
    subject: str
    address: str

    def digest(self) -> bytes:
        """Return what is kept of the name or number."""
        return hashlib.sha256(f"{self.door}\0{self.subject}".encode()).digest()


def hash_password(password: str) -> str:
    """Return a password's Argon2id hash. Raises AccountInvalid for one that is too short or too long."""
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise AccountInvalid(f"A password has {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} characters.")
    return _hasher.hash(password)


def make_account(
    name: str, role: Role, unit: str | None, participant: str | None, password: str, person: str | None = None
) -> Account:
    """Return an account as it is kept; all accounts of one person share the name `person`. Raises AccountInvalid."""
    check_name(name)
    if person is not None:
        check_name(person)
    check_reach(role, unit, participant)
    return Account(name, role.value, unit, participant, hash_password(password), person)


def make_openid_account(
    name: str, role: Role, unit: str | None, participant: str | None, subject: str, person: str | None = None
) -> Account:
    """Return an account for signing in at the OpenID provider: nobody knows its password. Raises AccountInvalid."""
    if not (1 <= len(subject) <= SUBJECT_CHARACTERS_MAX and subject.isprintable()):
        raise AccountInvalid(f"A subject has 1 to {SUBJECT_CHARACTERS_MAX} characters that can be printed.")
    made = make_account(name, role, unit, participant, secrets.token_urlsafe(TOKEN_BYTES), person)
    return made._replace(openid_subject=subject)


def check_name(name: str) -> None:
    """Raise AccountInvalid for what cannot be the name of a person or a machine."""
    if not _NAME.fullmatch(name):
        raise AccountInvalid("A name has 2 to 63 small letters, digits, dots, dashes or underscores.")


def check_reach(role: Role, unit: str | None, participant: str | None) -> None:
    """Raise AccountInvalid unless a role is narrowed as it must be."""
    if role not in ACCOUNT_ROLES:
        raise AccountInvalid("An applicant needs no account.")
    if (role is Role.OFFICER) != (unit is not None) or (role in OF_A_PARTICIPANT) != (participant is not None):
        raise AccountInvalid(
            "An officer has a unit, a bank's or labour office's person a participant, and nobody else either of them."
        )
    if not all(_REFERENCE.fullmatch(one) for one in (unit, participant) if one is not None):
        raise AccountInvalid("A unit or participant has letters, digits, dashes and underscores.")


# A hash that no password has, of the same cost as a real one.
_NOBODY = _hasher.hash(secrets.token_urlsafe(TOKEN_BYTES))


async def _matches(password_hash: str, password: str) -> bool:
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return False
    async with _hashing:
        try:
            return await asyncio.to_thread(_hasher.verify, password_hash, password)
        except (Argon2Error, InvalidHashError):
            return False


async def _note(database: Database, attempt: Attempt, outcome: str, now: datetime, account: str | None = None) -> None:
    members = {"at": now, "door": attempt.door, "subject": attempt.digest(), "address": attempt.address}
    async with database.connection() as connection:
        await accounts.note_attempt(connection, members | {"outcome": outcome, "account": account})


async def check_limit(database: Database, attempt: Attempt, now: datetime) -> None:
    """Raise AttemptsLimited if too many attempts failed lately, from this address or on this name or number."""
    async with database.connection() as connection:
        failed = await accounts.count_failed(
            connection, attempt.door, attempt.address, attempt.digest(), now - ATTEMPTS_WINDOW
        )
    if failed.of_address >= FAILED_OF_ADDRESS_MAX or failed.of_subject >= FAILED_OF_SUBJECT_MAX:
        await _note(database, attempt, "limited", now)
        raise AttemptsLimited


async def sign_in(database: Database, name: str, password: str, address: str, now: datetime) -> str:
    """Return the token of a new session. Raises AttemptsLimited or AttemptRefused."""
    account = await authenticate(database, name, password, address, now)
    return await _open(database, account.name, None, now, SESSION_LIFETIME)


async def sign_in_subject(database: Database, subject: str, address: str, now: datetime) -> str:
    """Return the token of a new session for a subject of the OpenID provider. Raises AttemptRefused: it is nobody."""
    attempt = Attempt("account", f"openid {subject}", address)
    async with database.connection() as connection:
        name = await accounts.find_subject(connection, subject)
    await _note(database, attempt, "failed" if name is None else "passed", now, name)
    if name is None:
        raise AttemptRefused
    return await _open(database, name, None, now, SESSION_LIFETIME)


async def authenticate(database: Database, name: str, password: str, address: str, now: datetime) -> Account:
    """Return the account of a name and its password; each attempt is kept. Raises AttemptsLimited or AttemptRefused."""
    attempt = Attempt("account", name[:PASSWORD_CHARACTERS_MAX], address)
    await check_limit(database, attempt, now)
    account = None
    if _NAME.fullmatch(name):
        async with database.connection() as connection:
            account = await accounts.find(connection, name)
    genuine = await _matches(_NOBODY if account is None else account.password_hash, password)
    if account is None or not genuine:
        await _note(database, attempt, "failed", now, None if account is None else account.name)
        raise AttemptRefused
    await _note(database, attempt, "passed", now, account.name)
    return account


async def admit_applicant(database: Database, attempt: Attempt, genuine: bool, now: datetime) -> str:
    """Return the token of a new session for one application. Raises AttemptRefused, which is counted."""
    await _note(database, attempt, "passed" if genuine else "failed", now)
    if not genuine:
        raise AttemptRefused
    return await _open(database, None, attempt.subject, now, APPLICANT_LIFETIME)


async def _open(
    database: Database, account: str | None, application: str | None, now: datetime, lifetime: timedelta
) -> str:
    token = secrets.token_urlsafe(TOKEN_BYTES)
    async with database.connection() as connection:
        await accounts.forget_sessions(connection, now)
        await accounts.open_session(connection, digest_token(token), account, application, (now, now + lifetime))
    return token


def digest_token(token: str) -> bytes:
    """Return what is kept of a session's token."""
    return hashlib.sha256(token.encode()).digest()


async def recognise(database: Database, token: str, now: datetime) -> Person | None:
    """Return whose session a token is, or None if it is nobody's any more."""
    digest = digest_token(token)
    async with database.connection() as connection:
        session = await accounts.find_session(connection, digest, now, now - SESSION_IDLE)
        if session is None:
            return None
        if session.seen_at < now - SEEN_AGAIN_AFTER:
            await accounts.see_session(connection, digest, now)
    return _person_of(session)


def _person_of(session: Session) -> Person:
    if session.application is not None:
        return Person(Role.APPLICANT, application=session.application)
    return Person(Role(session.role or ""), session.account, session.unit, session.participant)


async def sign_out(database: Database, token: str) -> None:
    """End the session of a token."""
    async with database.connection() as connection:
        await accounts.close_session(connection, digest_token(token))
