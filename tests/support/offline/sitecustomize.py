"""Refuses every network connection that would leave this machine.

Python imports a module of this name at start-up, so a child process gets the rule from `PYTHONPATH` alone and its
program stays as it was written. `tests/conftest.py` imports it for the test process itself.
"""

import ipaddress
import sys
from typing import Any


def _is_loopback(host: object) -> bool:
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return host in ("localhost", "", None)


def _refuse_other_machines(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event == "socket.connect" and isinstance(arguments[1], tuple):  # a path of a Unix socket is a string
        host = arguments[1][0]
    else:
        return
    if isinstance(host, bytes):
        host = host.decode()
    if not _is_loopback(host):
        raise PermissionError(f"Tests run offline, but something tried to reach {host!r}.")


sys.addaudithook(_refuse_other_machines)
