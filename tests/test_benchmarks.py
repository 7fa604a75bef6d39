"""The benchmarks are right: every work can be done, and a wrong result is no figure. Their times are in no test."""

from pathlib import Path

import pytest

from benchmarks import record, report
from benchmarks.__main__ import main
from benchmarks.cases import WORKS, Case, cases
from benchmarks.content import expect, shuffled
from benchmarks.meter import Meter
from benchmarks.peers import BARE, OURS, PEERS, Subject
from benchmarks.runner import FailedRunError, Outcome, llm_server, run_case, run_once
from benchmarks.subjects import bare, ours

ROOT = Path(__file__).parents[1]
SUBJECTS = {"bare": bare, "ours": ours}
TINY = list(cases("tiny"))


def name_of(case: Case) -> str:
    return f"{case.work.name}-{case.work.measure}-{'-'.join(map(str, case.work.fixed.values()))}"


@pytest.mark.parametrize("subject", [*SUBJECTS])
@pytest.mark.parametrize("case", [case for case in TINY if case.work.name != "import"], ids=name_of)
async def test_every_work_can_be_done(case: Case, subject: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each work is done by this project and by bare asyncio, with the right result, and is measured."""
    meter = Meter()
    work = getattr(SUBJECTS[subject], case.work.name)
    job = case.job(subject)
    if case.work.needs_server:
        with llm_server() as variables:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            await work(meter, **job["sizes"])
    else:
        await work(meter, **job["sizes"])
    assert meter.cpu > 0
    if case.work.measure == "first":
        assert meter.result()["first"] > 0


@pytest.mark.parametrize("subject", [BARE, OURS], ids=lambda subject: subject.module)
def test_an_import_is_measured_in_a_fresh_process(subject: Subject, tmp_path: Path) -> None:
    """The import of this project and of what it stands on is measured."""
    (case,) = cases("tiny", "import")
    assert run_once(case, subject, tmp_path, {})["cpu"] > 0


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_does_works_that_there_are(peer: Subject) -> None:
    """Nobody is asked for a work that does not exist, and the size limits are of works that are done."""
    assert peer.works <= {work.name for work in WORKS}
    assert peer.limits.keys() <= peer.works
    source = (ROOT / "benchmarks" / "subjects" / f"{peer.module}.py").read_text(encoding="utf-8")
    assert {work for work in peer.works if f"async def {work}(meter: Meter" not in source} == set()


def test_a_wrong_result_is_a_failed_run(tmp_path: Path) -> None:
    """A run whose result is wrong has no figures, and its subject is reported as failed."""
    with pytest.raises(AssertionError, match="The result is 1, and should be 2"):
        expect(1, 2)
    case = Case(TINY[0].work, {"calls": 3})
    liar = Subject("liar", "nobody", frozenset())
    with pytest.raises(FailedRunError, match="nobody"):
        run_once(case, liar, tmp_path, {})
    said: list[str] = []
    outcome = Outcome(case)
    run_case(outcome, [BARE, liar], 2, tmp_path, {}, said.append)
    assert outcome.runs.keys() == {"bare"}
    assert outcome.failed.keys() == {"liar"}
    assert any("failed" in line for line in report.table([outcome]))


def outcome(bare: list[float], ours: list[float], units: int = 10) -> Outcome:
    runs = {BARE.name: bare, OURS.name: ours}
    return Outcome(
        Case(TINY[0].work, {"calls": units}),
        {name: [{"cpu": one, "wall": one} for one in values] for name, values in runs.items()},
    )


def test_a_ratio_is_of_runs_side_by_side() -> None:
    """A machine that becomes slow in the midst of it changes the times, but not the ratio."""
    found = outcome([1.0, 1.0, 10.0], [2.0, 2.0, 20.0])
    assert found.ratio(OURS.name) == 2.0
    assert found.each(OURS.name) == 0.2


def test_a_report_has_a_table_and_a_chart() -> None:
    """The ratio of a subject is in the table and in the chart; growth is shown for works of several sizes."""
    found = outcome([1.0], [3.0])
    assert any("this project" in line and "| x 3 |" in line for line in report.table([found]))
    assert any("x 3" in line and "#" in line for line in report.chart([found]))
    fan_out = next(work for work in WORKS if work.name == "fan_out")
    two = [Outcome(Case(fan_out, {"calls": calls}), found.runs) for calls in (1, 10)]
    assert "| this project | 3 s | 300 ms |" in [*report.growth(two)]


def test_what_has_become_slower_is_found(tmp_path: Path) -> None:
    """A ratio beyond the recorded one and its tolerance is a regression; a better one and an unknown one are not."""
    path = tmp_path / "recorded.json"
    found = record.ratios_of([outcome([1.0], [2.0])])
    record.record(found, path)
    record.record({"other": 1.0}, path)
    (name,) = found
    recorded = record.load(path)
    assert recorded == {name: 2.0, "other": 1.0}
    assert record.regressions({name: 2.5, "new": 9.0}, recorded, 0.3) == []
    (worse,) = record.regressions({name: 2.7, "other": 0.5}, recorded, 0.3)
    assert worse.startswith(name)


def test_a_check_tells_what_it_has_compared() -> None:
    """A check tells of each ratio that is worse or better, what has no recorded ratio, and how many were compared."""
    recorded = {"a": 2.0, "b": 2.0, "c": 2.0, "elsewhere": 1.0}
    assert [*record.comparison({"a": 2.5, "b": 1.6}, recorded, 0.3)] == [
        "2 of 2 ratios compared with recorded.json, none worse"
    ]
    assert [*record.comparison({"a": 2.7, "b": 1.5, "c": 2.0, "new": 9.0, "newer": 1.0}, recorded, 0.3)] == [
        "worse: a: x 2.7 of bare, recorded x 2",
        "better: b: x 1.5 of bare, recorded x 2",
        "The record is old where a ratio is better: `--record` renews it.",
        "3 of 5 ratios compared with recorded.json, 1 worse; 2 not recorded: new; newer",
    ]


def test_a_check_that_finds_nothing_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends a check with a line that says what was compared, also if all is well."""
    monkeypatch.setattr("benchmarks.runner.run_once", lambda *_: {"cpu": 1.0, "wall": 1.0})
    assert main(["--quick", "--only", "sequential", "--check"]) == 0
    assert "ratios compared with recorded.json, none worse" in capsys.readouterr().out


def test_a_work_that_a_peer_does_not_do_is_told(tmp_path: Path) -> None:
    """Who does not do a work, or not at that size, is named, and not silently missing."""
    case = Case(TINY[0].work, {"calls": 3})
    others = [
        Subject("idler", "nobody", frozenset({"other"})),
        Subject("small", "nobody", frozenset(), limits={case.work.name: 2}),
    ]
    said: list[str] = []
    run_case(Outcome(case), others, 1, tmp_path, {}, said.append)
    assert said == [f"{case.name}: {one.name} does not do this work, or not at this size" for one in others]


def test_an_interrupted_run_ends_with_what_was_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl+C ends the command with status 130 and the tables of the runs until then, and nothing is recorded."""
    runs = iter([{"cpu": 1.0, "wall": 1.0}, {"cpu": 3.0, "wall": 1.0}, {"cpu": 1.0, "wall": 1.0}])
    recorded: list[object] = []

    def run(*_: object) -> dict[str, float]:
        for figures in runs:
            return figures
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmarks.runner.run_once", run)
    monkeypatch.setattr("benchmarks.record.record", recorded.append)
    assert main(["--quick", "--only", "sequential,fan_out", "--record"]) == 130
    shown = capsys.readouterr()
    assert "calls one after another" in shown.out
    assert "| x 3 |" in shown.out
    assert "calls at once" not in shown.out
    assert "interrupted" in shown.err
    assert recorded == []


def test_the_command_lists_what_it_would_do(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` names the cases; `--only` chooses among them."""
    assert main(["--list", "--only", "tree,out_of_order"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in listed} == {"tree", "out_of_order"}


@pytest.mark.parametrize("only", ["nosuch", "tree,nosuch"])
@pytest.mark.parametrize("check", [[], ["--check"], ["--list"]], ids=["run", "check", "list"])
def test_a_word_that_no_case_has_is_refused(only: str, check: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in `--only` ends the command with status 2 and the names of the works, whatever it was to do."""
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "--only", only, *check])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "'nosuch'" in said
    assert all(work.name in said for work in WORKS)


@pytest.mark.parametrize("repeat", ["0", "-1"])
def test_no_run_at_all_is_refused(repeat: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`--repeat` below 1 ends the command with status 2 and a sentence."""
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "--only", "sequential", "--check", "--repeat", repeat])
    assert ended.value.code == 2
    assert f"at least once, not {repeat} times" in capsys.readouterr().err


def test_an_order_that_looks_random_has_everything() -> None:
    """The order in which gates are opened has each of them once, and is not their own order."""
    assert sorted(shuffled(100)) == list(range(100))
    assert shuffled(100) != list(range(100))
