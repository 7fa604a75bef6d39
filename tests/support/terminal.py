"""A program on a pseudo-terminal of its own, driven as a person drives it: read the screen, press keys."""

import asyncio
import codecs
import contextlib
import os
import pty
import re
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from support.processes import clean_environment

ENTER, CTRL_C, CTRL_D, CTRL_SPACE = "\r", "\x03", "\x04", "\x00"

# An upper bound for a machine under load, never a time that a test waits for.
DEADLINE_SECONDS = 15.0

# What a person would still call "at once", with room for a machine under load.
AT_ONCE_SECONDS = 4.0

# The child must be a session leader whose controlling terminal is the pseudo-terminal, else Ctrl+C would reach nobody.
# A small program does that and then becomes the real one: `preexec_fn` would fork a process that has threads.
_BECOME = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"

_ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b[=>78A-Z]")
_CURSOR_POSITION_REQUEST = "\x1b[6n"


class Terminal:
    """`async with Terminal("program.py", cwd=folder) as terminal:` starts it; leaving the block kills what still runs.

    Example:
        await terminal.shows("USER:")
        terminal.press("hello", ENTER)
        assert await terminal.ended() == 0
    """

    def __init__(self, *arguments: str | Path, cwd: Path, environment: Mapping[str, str] | None = None) -> None:
        self._command = (sys.executable, *arguments)
        self._cwd = cwd
        self._environment = clean_environment(cwd, **(environment or {}))
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._raw = ""
        self._read_up_to = 0
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def screen(self) -> str:
        """All that was written since the start, without escape sequences, lines ending in a line feed.

        A program that moves the cursor instead of writing spaces leaves none here: wait for `USER:`, not for `USER: `.
        """
        return _ESCAPES.sub("", self._raw).replace("\r\n", "\n")

    async def __aenter__(self) -> Self:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 80))
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-I", "-S", "-c", _BECOME),
                *self._command,
                cwd=self._cwd,
                env=self._environment,
                stdin=slave,
                stdout=slave,
                stderr=slave,
            )
        finally:
            os.close(slave)
        asyncio.get_running_loop().add_reader(self._master, self._read)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"The screen was:\n{self.screen}")
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        if not self._closed:
            asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)

    def press(self, *keys: str) -> None:
        """Type text or press keys (`ENTER`, `CTRL_C`, ...)."""
        os.write(self._master, "".join(keys).encode())

    def signal(self, number: int) -> None:
        """Send the program a signal, as `kill` does. (To a program that asked for that, Ctrl+C is a key instead.)"""
        self._process.send_signal(number)

    @property
    def settings(self) -> list[object]:
        """How the terminal treats what is typed: whether it shows it, whether Ctrl+C is a signal, and so on."""
        return termios.tcgetattr(self._master)

    async def shows(self, text: str) -> None:
        """Wait until `text` appears after what an earlier call has found.

        Raises:
            AssertionError: the program ended, or the deadline passed, without showing it.
        """
        await self._until(lambda: self._closed or text in self.screen[self._read_up_to :], f"show {text!r}")
        at = self.screen.find(text, self._read_up_to)
        assert at >= 0, f"The program ended without showing {text!r}."
        self._read_up_to = at + len(text)

    async def waits_for_keys(self) -> None:
        """Wait until the program sleeps, as one does that has nothing to do but to read.

        Between showing its prompt and reading, `input()` is deaf to Ctrl+C for a moment, in plain Python too: a signal
        that comes then is not looked at until something is typed. Only Linux tells when that moment is over.
        """
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not self._sleeps():  # noqa: ASYNC110  the kernel has no event for it
                await asyncio.sleep(0)

    def _sleeps(self) -> bool:
        stat = Path(f"/proc/{self._process.pid}/stat")
        return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "S"

    async def ended(self, within: float = DEADLINE_SECONDS) -> int:
        """Wait for the end of the program and of its output; give its exit status (negative: the signal that ended it).

        Raises:
            AssertionError: it is still running when `within` seconds have passed.
        """
        await self._until(lambda: self._closed, "end", within)
        return await self._process.wait()

    async def _until(self, condition: Callable[[], bool], wanted: str, within: float = DEADLINE_SECONDS) -> None:
        try:
            async with asyncio.timeout(within):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"The program did not {wanted} within {within} seconds.") from None

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: the last process on the other side is gone
            data = b""
        if data:
            text = self._decode(data)
            self._raw += text
            for _ in range(text.count(_CURSOR_POSITION_REQUEST)):  # every real terminal answers
                self.press("\x1b[1;1R")
        else:
            asyncio.get_running_loop().remove_reader(self._master)
            self._closed = True
        self._changed.set()
