"""The catalogue of faults names tests that there are, and is judged as it must be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from reliability.catalogue import CATALOGUE, judge, named_tests, outcomes_in
from reliability.fault import Fault

ROOT = Path(__file__).parents[2]


def test_a_key_is_a_letter_and_a_number_and_unique() -> None:
    """The keys of each area are numbered from 1, without gaps and in order."""
    keys = [re.fullmatch(r"([A-H])([1-9]\d*)", fault.key) for fault in CATALOGUE]
    areas: dict[str, list[int]] = {}
    for key in keys:
        assert key is not None
        areas.setdefault(key[1], []).append(int(key[2]))
    assert list(areas) == list("ABCDEFGH")
    assert all(numbers == list(range(1, len(numbers) + 1)) for numbers in areas.values())


@pytest.mark.parametrize("fault", CATALOGUE, ids=lambda fault: fault.key)
def test_a_fault_has_tests_or_a_reason(fault: Fault) -> None:
    """Each fault has tests, or says what is missing, or why it cannot happen; none names a test twice."""
    assert fault.tests or fault.open or fault.not_offered
    assert not (fault.open and fault.not_offered)
    assert len(set(fault.tests)) == len(fault.tests)


@pytest.mark.timeout(90)  # hundreds of tests are collected, on a machine that may be busy
def test_every_test_of_the_catalogue_is_there() -> None:
    """Pytest finds each of the tests, with its parameters."""
    names = named_tests(CATALOGUE)
    assert len(names) >= 120
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "not found" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stdout[-2000:]


def test_no_test_of_the_catalogue_is_left_out_on_purpose() -> None:
    """None of the tests is marked as one that is skipped, or that may fail, on every system."""
    marked = []
    for file in sorted({test.partition("::")[0] for test in named_tests(CATALOGUE)}):
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                marks = [ast.unparse(decorator).partition("(")[0] for decorator in node.decorator_list]
                if {"pytest.mark.skip", "pytest.mark.xfail"} & set(marks):
                    marked.append(f"{file}::{node.name}")
    assert not {test.partition("[")[0] for test in named_tests(CATALOGUE)} & set(marked)


REPORT = """
<testsuites><testsuite>
  <testcase classname="tests.a.test_b" name="test_passes" />
  <testcase classname="tests.a.test_b" name="test_fails"><failure message="no" /></testcase>
  <testcase classname="tests.a.test_b" name="test_breaks"><error message="no" /></testcase>
  <testcase classname="tests.a.test_b" name="test_is_skipped"><skipped message="no" /></testcase>
  <testcase classname="tests.a.test_b" name="test_often[good]" />
  <testcase classname="tests.a.test_b" name="test_often[bad]"><failure message="no" /></testcase>
</testsuite></testsuites>
"""


def judged(*names: str, **details: str) -> str:
    fault = Fault("X1", "something goes wrong", tuple(f"tests/a/test_b.py::{name}" for name in names), **details)
    verdict = judge((fault,), outcomes_in(REPORT))
    assert len(verdict.survived) + len(verdict.not_survived) + len(verdict.not_offered) == 1
    return "survived" if verdict.survived else "not offered" if verdict.not_offered else verdict.not_survived["X1"]


def test_a_fault_is_survived_if_all_of_its_tests_have_passed() -> None:
    """A test that has failed, was skipped, or was not run shows nothing."""
    assert judged("test_passes") == "survived"
    assert judged("test_passes", "test_often[good]") == "survived"
    for name in ("test_fails", "test_breaks", "test_is_skipped", "test_often[bad]", "test_often", "test_is_not_there"):
        assert judged("test_passes", name) == f"tests/a/test_b.py::{name}"
    assert judged("test_often[worse]") == "tests/a/test_b.py::test_often[worse]"


def test_a_fault_of_which_something_is_open_is_not_survived() -> None:
    """Not even if its tests have passed; and one that cannot happen is not counted."""
    assert judged("test_passes", open="half of it") == "half of it"
    assert judged(open="all of it") == "all of it"
    assert judged("test_fails", not_offered="it cannot happen") == "not offered"


def test_a_test_is_counted_once() -> None:
    """Whether two faults name it, or one of them a part of it and the other one all."""
    faults = (
        Fault("X1", "one", ("tests/a/test_b.py::test_often", "tests/a/test_b.py::test_passes")),
        Fault("X2", "two", ("tests/a/test_b.py::test_often[good]", "tests/a/test_b.py::test_passes")),
        Fault("X3", "three", ("tests/a/test_b.py::test_fails",), not_offered="it cannot happen"),
    )
    assert named_tests(faults) == ["tests/a/test_b.py::test_often", "tests/a/test_b.py::test_passes"]
