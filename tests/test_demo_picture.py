"""The picture of the demo in the README, and the script that draws it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.processes import run_python

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "make_demo_picture.py"
MOST_BYTES = 150_000
SVG = "{http://www.w3.org/2000/svg}"


async def drawn(folder: Path) -> Path:
    picture = folder / "new folder" / "demo.svg"
    ended = await run_python(SCRIPT, picture, cwd=folder)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    return picture


def last_frame(picture: Path) -> str:
    """The text that is seen where animations are off."""
    texts = ElementTree.parse(picture).iter(f"{SVG}text")
    return " ".join(" ".join(text.text or "" for text in texts if "gone" not in text.get("class", "").split()).split())


@pytest.mark.timeout(90)
async def test_the_script_draws_the_demo(tmp_path: Path) -> None:
    """The last frame has every kind of agent, the answer and the figures; earlier frames are there as well."""
    picture = await drawn(tmp_path)
    seen = last_frame(picture)
    for shown in ("planner", "searcher 3", "reader 6", "writer 3", "The sky is blue because", "one after another"):
        assert shown in seen
    assert picture.read_text(encoding="utf-8").count("@keyframes") > 10


@pytest.mark.timeout(90)
async def test_the_script_draws_the_same_picture_each_time(tmp_path: Path) -> None:
    """The picture does not depend on the clock, the machine or chance."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    assert (await drawn(one)).read_bytes() == (await drawn(other)).read_bytes()


def test_the_picture_needs_nothing_else() -> None:
    """The picture in the docs is small, well-formed, and loads nothing from anywhere."""
    picture = ROOT / "docs" / "images" / "demo.svg"
    text = picture.read_text(encoding="utf-8")
    assert len(text.encode()) < MOST_BYTES
    assert "The sky is blue because" in last_frame(picture)
    assert re.findall(r"https?:[^\"' )]*", text) == [SVG.strip("{}")]
    assert "url(" not in text
    assert "<script" not in text
