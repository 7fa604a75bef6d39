"""`miniagents doctor`."""

import importlib.metadata
import json
import platform
import re
import tomllib
from pathlib import Path

import pytest

import miniagents
from miniagents.cli.local_servers import find_local_servers
from support.commands import run_miniagents
from support.processes import run_python

pytestmark = pytest.mark.timeout(90)

DOCTOR_WITHOUT_EXTRAS = """\
import importlib.metadata

own = {"miniagents", "pydantic", "prompt-toolkit", "rich", "python-dotenv"}
version = importlib.metadata.version


def version_of_own(name):
    if name not in own:
        raise importlib.metadata.PackageNotFoundError(name)
    return version(name)


importlib.metadata.version = version_of_own

from miniagents.cli import main

main(["doctor"])
"""


async def test_it_tells_what_is_here(tmp_path: Path) -> None:
    """Versions, platform, packages and extras, keys, servers, and what chat would use: all of it is told."""
    ended = await run_miniagents("doctor", cwd=tmp_path)
    assert (ended.status, ended.stderr) == (0, "")
    found = {line[:13].strip(): line[14:] for line in reversed(ended.stdout.splitlines())}
    assert found["miniagents"] == miniagents.__version__
    assert found["Python"].startswith(platform.python_version())
    assert found["Platform"] == platform.platform()
    assert f"rich {importlib.metadata.version('rich')}" in found["Packages"]
    assert f"openai {importlib.metadata.version('openai')}" in ended.stdout
    assert f"anthropic {importlib.metadata.version('anthropic')}" in ended.stdout
    assert "OPENAI_API_KEY is not set" in ended.stdout
    assert "ANTHROPIC_API_KEY is not set" in ended.stdout
    assert "Local server" in found
    if not find_local_servers():
        assert found["Chat"].startswith("would use eliza")


async def test_every_extra_is_told(tmp_path: Path) -> None:
    """Of each extra that can be installed there is the version of its package, or how to install it."""
    with (Path(__file__).parents[2] / "pyproject.toml").open("rb") as file:
        extras: dict[str, list[str]] = tomllib.load(file)["project"]["optional-dependencies"]
    packages = {extra: re.split("[<>=]", names[0])[0] for extra, names in extras.items() if extra != "all"}
    findings = json.loads((await run_miniagents("doctor", "--json", cwd=tmp_path)).stdout)
    assert findings["extras"] == {extra: importlib.metadata.version(package) for extra, package in packages.items()}
    (tmp_path / "doctor.py").write_text(DOCTOR_WITHOUT_EXTRAS, encoding="utf-8")
    ended = await run_python(tmp_path / "doctor.py", cwd=tmp_path)
    for extra in packages:
        assert f'{extra} is not installed: pip install "/path/to/miniagents[{extra}]"' in ended.stdout


async def test_keys_are_named_and_never_shown(tmp_path: Path) -> None:
    """Of a key there is the name and where it comes from, in the text and in the JSON, and nothing of its value."""
    (tmp_path / ".env").write_text("ANTHROPIC_API_KEY=value-in-file\n", encoding="utf-8")
    for arguments in (["doctor"], ["doctor", "--json"]):
        ended = await run_miniagents(*arguments, cwd=tmp_path, environment={"OPENAI_API_KEY": "value-in-environment"})
        assert ended.status == 0
        assert "value-in" not in ended.stdout + ended.stderr
    keys = json.loads(ended.stdout)["keys"]
    assert keys == {"OPENAI_API_KEY": "environment", "ANTHROPIC_API_KEY": ".env"}


async def test_the_json_says_what_chat_would_use(tmp_path: Path) -> None:
    """With `--json` the output is JSON, in which programs find the model and the reason."""
    environment = {"OPENAI_API_KEY": "any", "OPENAI_MODEL": "gpt-x"}
    findings = json.loads((await run_miniagents("doctor", "--json", cwd=tmp_path, environment=environment)).stdout)
    assert findings["chat"] == {
        "provider": "openai",
        "model": "gpt-x",
        "reason": "OPENAI_API_KEY is set",
        "offline": False,
        "notes": [],
    }
    assert findings["variables"] == {"OPENAI_MODEL": "environment"}


async def test_a_chat_that_cannot_start_is_a_finding(tmp_path: Path) -> None:
    """Settings with which `chat` would end at once are told, with status 1."""
    ended = await run_miniagents("doctor", cwd=tmp_path, environment={"MINIAGENTS_MODEL": "gpt-x"})
    assert (ended.status, ended.stderr) == (1, "")
    assert "cannot start: MINIAGENTS_MODEL: there is no provider `gpt-x`" in ended.stdout
