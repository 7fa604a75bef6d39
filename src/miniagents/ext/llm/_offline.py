"""The switch that forbids requests that leave this machine."""

import ipaddress
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import urlsplit

from miniagents.ext.llm.errors import LLMOfflineError

VARIABLE: Final = "MINIAGENTS_OFFLINE"
_NO: Final = frozenset({"", "0", "false", "no", "off"})

# The hosts that the innermost block allows.
_allowed: Final[ContextVar[frozenset[str] | None]] = ContextVar("miniagents_offline", default=None)


@contextmanager
def no_real_requests(*, allow: Collection[str] = ()) -> Iterator[None]:
    """In this block, and in what it starts, requests to other machines are an `LLMOfflineError`; nothing is sent.

    Servers on this machine (`localhost`, `127.0.0.1`, `::1`) may be asked, and the hosts that `allow` names; replays
    ask nobody. A client of your own that tells no `base_url` is taken for a fake, and may be asked too. The innermost
    block decides. `MINIAGENTS_OFFLINE=1` in the environment does the same for a whole process.
    """
    if isinstance(allow, str):
        raise TypeError(f"`allow` is a list of hosts, such as [{allow!r}].")
    token = _allowed.set(frozenset(host.lower() for host in allow))
    try:
        yield
    finally:
        _allowed.reset(token)


def check_allowed(client: Any, provider: str) -> None:
    """Raise `LLMOfflineError` if what `client` sends would leave this machine, and that is forbidden here."""
    allowed = _allowed.get()
    if allowed is None:
        if os.environ.get(VARIABLE, "").strip().lower() in _NO:
            return
        allowed = frozenset()
    host = _host_of(client)
    if host and host not in allowed and not _is_loopback(host):
        raise LLMOfflineError(
            f"A request to {provider} at {host} is forbidden here, by `no_real_requests` or {VARIABLE}. Replay a "
            "recording, ask a server on this machine (`miniagents.testing.LLMServer`), or allow it: "
            f"`no_real_requests(allow=[{host!r}])`."
        )


def _host_of(client: Any) -> str:
    try:
        return (urlsplit(str(getattr(client, "base_url", ""))).hostname or "").lower()
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
