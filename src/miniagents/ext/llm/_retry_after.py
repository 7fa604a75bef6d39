"""When a server wants to be asked again."""

import email.utils
import math
import time
from collections.abc import Mapping
from datetime import UTC


def retry_after_of(headers: Mapping[str, str]) -> float | None:
    """The seconds after which a server wants to be asked again, if its headers say so in one of the three ways."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    at = _moment(headers.get("retry-after", ""))
    if at is None:
        return None
    # By the server's own clock, if it tells it: ours may be wrong.
    now = _moment(headers.get("date", ""))
    return max(0.0, at - (time.time() if now is None else now))


def _moment(date: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(date)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
