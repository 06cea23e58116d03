"""Where a server listens, whom it answers, and how much it takes on."""

import os
import re
from dataclasses import dataclass, field
from ipaddress import ip_address

from dsi.errors import DsiError

TOKEN = "DSI_TOKEN"
"""The environment variable of the token, which other users of the machine cannot see, as they can an option."""
SHORTEST_TOKEN = 16
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Limits:
    """What a server refuses to do more of."""

    k: int = 100
    query_length: int = 1_000
    body: int = 64 * 1024
    queue: int = 256


LIMITED = {
    "k": "most documents of an answer, else 422",
    "query_length": "most characters of a query, else 422",
    "body": "most bytes of a body, else 413",
    "queue": "most requests that wait, else 503",
}
"""What each limit is of, and the status beyond it."""


@dataclass(frozen=True)
class Settings:
    """How a server is run.

    Raises:
        DsiError: it is to listen to other machines without a token, or a value cannot be.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    """0: any free one."""
    token: str | None = None
    """What requests must bring as `Authorization: Bearer TOKEN`; None: nothing, on this machine alone."""
    allowed_hosts: tuple[str, ...] = ()
    """Names, beside those of this machine, by which clients may ask for the server, e.g. that of a proxy."""
    batch_wait: float = 2.0
    """The milliseconds that a batch waits for as many requests as the last one had."""
    log_queries: bool = False
    """Whether the log has the texts of queries."""
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port < 1 << 16:
            raise DsiError(f"--port {self.port}: expected a number from 0 to 65535")
        if not 0 <= self.batch_wait <= 1_000:
            raise DsiError(f"--batch-wait {self.batch_wait:g}: expected milliseconds from 0 to 1000")
        if self.token is not None and not re.fullmatch(rf"[!-~]{{{SHORTEST_TOKEN},}}", self.token):
            raise DsiError(
                f"--token or {TOKEN}: expected {SHORTEST_TOKEN} ASCII characters or more, without blanks; make one with"
                " `openssl rand -hex 16`"
            )
        for name in self.allowed_hosts:
            if not re.fullmatch(r"[a-z0-9._-]+", name):
                raise DsiError(f"--allow-host {name!r:.60}: expected a name in small letters, without a port")
        if self.token is None and not self.is_local:
            raise DsiError(
                f"--host {self.host}: other machines could read all documents; give a token (--token, or {TOKEN} in the"
                " environment)"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def answers_to(self, host: str) -> bool:
        """Whether a client may ask for the server by this name. A page of another site, whose name was made to point
        here, sends its own; it has no token either, with which any name will do.

        >>> Settings().answers_to("localhost"), Settings().answers_to("evil.example")
        (True, False)
        """
        return self.token is not None or host in LOCAL_NAMES | {self.host.lower(), *self.allowed_hosts}


def token_of(given: str | None) -> str | None:
    """The token given as an option, or that of the environment."""
    return os.environ.get(TOKEN) or None if given is None else given
