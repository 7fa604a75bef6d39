"""Accounts of any amounts."""

import asyncio
import time
from typing import Any

from miniagents.promising import PromisingContext
from miniagents.promising.accounts import spend


class SlowAccount:
    """One that lets others run in the midst of adding."""

    def __init__(self) -> None:
        self.total = 0

    def add(self, amount: Any) -> None:
        total = self.total
        time.sleep(0)
        self.total = total + amount


async def test_threads_add_one_after_the_other() -> None:
    """No amount is lost, and no account is made twice, when several threads spend at once."""

    def tool() -> None:
        for _ in range(200):
            spend(1, SlowAccount)

    async with PromisingContext() as context:
        await asyncio.gather(*(asyncio.to_thread(tool) for _ in range(4)))
    assert context.account.total == 800


async def test_an_amount_goes_to_each_context_once() -> None:
    """What is spent outside of producers counts for the contexts around, the inner ones and the outer ones."""
    async with PromisingContext() as outer:
        async with PromisingContext() as inner:
            spend(1, SlowAccount)
        spend(10, SlowAccount)
    assert (outer.account.total, inner.account.total) == (11, 1)
