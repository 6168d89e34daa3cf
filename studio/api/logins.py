"""Who is logged in: session ids, stored hashed, that outlive a restart and can be taken back."""

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum, auto

from studio.api.access import Access
from studio.service.studio import GUEST

log = logging.getLogger("studio.api")

DAY_S = 86_400
LINK = "link"


class Token(Enum):
    """What a one-time token is worth."""

    OPENS = auto()
    SPENT = auto()
    ENDED = auto()
    """It was a guest's, and sharing is over."""
    UNKNOWN = auto()


@dataclass(frozen=True, slots=True)
class Login:
    """A session as it is kept; the id itself only the browser has."""

    owner: str
    expires: float
    """Seconds since 1970."""
    proof: str
    """Of the password it was opened with: another password ends the session. Of a guest, of the
    link they came by."""


class Logins:
    """Opens, finds and closes sessions. Thread-safe.

    A file that cannot be read or written costs no more than the logins in it: people log in again.
    """

    def __init__(self, access: Access) -> None:
        self._access = access
        self._lock = threading.Lock()
        self._sessions: dict[str, Login] = {}
        self._spent: list[str] = []
        self._read()

    def check(self, name: str, password: str) -> bool:
        """True if this is a user's password. Takes as long for a name that does not exist."""
        expected = self._access.users.get(name, secrets.token_hex())
        return hmac.compare_digest(_hash(password), _hash(expected)) and name in self._access.users

    def open_for_user(self, name: str) -> str:
        return self._open(f"user:{name}", self._proof(name))

    def open_by_token(self, token: str) -> str | None:
        """Spends a one-time token and opens a session with it; None if it does not open anything."""
        with self._lock:
            if self.token(token) is not Token.OPENS:
                return None
            self._spent.append(_hash(token))
            del self._spent[:-100]
        if token in self._access.guest_tokens:
            return self._open(f"{GUEST}{secrets.token_hex(16)}", _hash(token))
        return self._open("local", LINK)

    def token(self, token: str) -> Token:
        """What this token is worth. Spends nothing."""
        found = self._known(token)
        if found is None:
            return Token.UNKNOWN
        if token in self._access.guest_tokens and self._access.sharing.over:
            return Token.ENDED
        return Token.SPENT if found in self._spent else Token.OPENS

    def owner(self, session: str) -> str | None:
        """Whose session this is; None if it ended, was closed, or never was."""
        login = self._sessions.get(_hash(session))
        if login is None or login.expires < time.time() or login.proof != self._proof_of(login):
            return None
        return login.owner

    def close(self, session: str) -> None:
        with self._lock:
            if self._sessions.pop(_hash(session), None):
                self._write()

    def _open(self, owner: str, proof: str) -> str:
        session = secrets.token_hex(16)
        limits = self._access.limits
        expires = time.time() + limits.login_days * DAY_S
        if owner.startswith(GUEST) and (link := self._access.sharing.link):
            expires = min(expires, link.until)
        with self._lock:
            self._sessions[_hash(session)] = Login(owner, expires, proof)
            while len(self._sessions) > limits.logins:
                del self._sessions[next(iter(self._sessions))]
            self._write()
        return session

    def _known(self, token: str) -> str | None:
        given = _hash(token)
        matches = [
            known
            for known in map(_hash, self._access.one_time_tokens)
            if hmac.compare_digest(given, known)
        ]
        return matches[0] if matches else None

    def _proof_of(self, login: Login) -> str:
        if login.proof == LINK:  # opened by a link: worth something while links are given out
            return LINK if self._access.one_time_tokens else ""
        if login.owner.startswith(GUEST):
            guests = () if self._access.sharing.over else self._access.guest_tokens
            return login.proof if login.proof in map(_hash, guests) else ""
        return self._proof(login.owner.removeprefix("user:"))

    def _proof(self, name: str) -> str:
        password = self._access.users.get(name)
        if password is None:
            return ""
        told = f"{name}\0{password}".encode(errors="surrogatepass")
        return hmac.new(self._access.secret, told, hashlib.sha256).hexdigest()

    def _read(self) -> None:
        path = self._access.logins_file
        if path is None or not path.exists():
            return
        try:
            kept = json.loads(path.read_bytes())
            self._spent = [str(token) for token in kept["spent"]]
            self._sessions = {
                str(session): Login(
                    str(login["owner"]), float(login["expires"]), str(login["proof"])
                )
                for session, login in kept["sessions"].items()
                if float(login["expires"]) > time.time()
            }
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("The list of logins is damaged, everybody logs in again (%s).", error)

    def _write(self) -> None:
        path = self._access.logins_file
        if path is None:
            return
        kept: Mapping[str, object] = {
            "sessions": {session: asdict(login) for session, login in self._sessions.items()},
            "spent": self._spent,
        }
        part = path.with_name(f"{path.name}.part")
        try:
            made = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(made, "w", encoding="utf-8") as file:
                json.dump(kept, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            log.warning("Logins are not kept over a restart (%s).", error.strerror)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
