"""Model servers on this machine that speak OpenAI's protocol: which ones answer, and with which models."""

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

# Seconds. A server on the same machine that takes longer is not one to wait for at every start.
_PATIENCE: Final = 0.2
_LONGEST_ANSWER: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a kind of server usually listens."""

    provider: str
    """Its name on the command line."""
    title: str
    """As people call it."""
    port: int

    @property
    def base_url(self) -> str:
        """Where its API begins."""
        return f"http://127.0.0.1:{self.port}/v1"


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A server that has answered."""

    place: Place
    models: tuple[str, ...]
    """Those that can chat, as far as their names tell; in the order of the server."""


PLACES: Final = (
    Place("ollama", "Ollama", 11434),
    Place("lmstudio", "LM Studio", 1234),
    Place("llamacpp", "llama.cpp", 8080),
    Place("vllm", "vLLM", 8000),
)


def find_local_servers(places: Sequence[Place] = PLACES) -> tuple[LocalServer, ...]:
    """The servers that answer, in the order of `places`. Asks all of them at once; blocks for 0.2 seconds at most."""
    answers: dict[Place, tuple[str, ...]] = {}

    def ask(place: Place) -> None:
        models = _models_at(place.port)
        if models is not None:
            answers[place] = models

    # Daemons, since something that listens there and sends a byte from time to time could keep one for long.
    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in places]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    found = dict(answers)
    return tuple(LocalServer(place, found[place]) for place in places if place in found)


def _models_at(port: int) -> tuple[str, ...] | None:
    """The models that the server at `port` offers; `None` if there is none, or something else."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/v1/models")
        response = connection.getresponse()
        answer = json.loads(response.read(_LONGEST_ANSWER)) if response.status == 200 else None
    except (OSError, ValueError, RecursionError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    listed: Any = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(listed, list):
        return None
    names = [model.get("id") for model in listed if isinstance(model, dict)]
    return tuple(name for name in names if isinstance(name, str) and name and "embed" not in name.lower())
