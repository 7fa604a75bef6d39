"""The command: `python -m benchmarks`."""

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import record, report
from benchmarks.cases import WORKS, Scale, cases, words_of
from benchmarks.peers import BARE, OURS, PEERS, ROOT, Subject, prepare
from benchmarks.runner import Outcome, llm_server, run_case

_EVERYBODY = "all"


def say(text: str) -> None:
    """Progress, which is no part of the report."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options."""
    names = [peer.name for peer in PEERS]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures this project beside bare asyncio and beside other frameworks.",
    )
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--only", default="", metavar="WORDS", help="only cases with one of these, as in fan_out,tree")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each case, 5 by default; the median counts")
    parser.add_argument(
        "--peers",
        nargs="*",
        choices=[*names, _EVERYBODY],
        default=[],
        metavar="PEER",
        help=f"measure these as well, or `{_EVERYBODY}`: {', '.join(names)}; they are installed with uv",
    )
    parser.add_argument(
        "--cache", type=Path, default=ROOT / ".benchmarks", help="where peers are installed; `.benchmarks` by default"
    )
    parser.add_argument("--record", action="store_true", help=f"keep the ratios in {record.RECORDED.name}")
    parser.add_argument("--check", action="store_true", help="status 1 if a ratio is worse than the recorded one")
    parser.add_argument(
        "--tolerance", type=float, default=0.3, help="how much worse is still no regression; 0.3 by default"
    )
    options = parser.parse_args(arguments)
    unmatched = [word for word in words_of(options.only) if not any(cases(scale_of(options), word))]
    if unmatched:
        works = ", ".join(dict.fromkeys(work.name for work in WORKS))
        parser.error(f"argument --only: no case has {unmatched[0]!r} in its name; the works are: {works}")
    if options.repeat < 1:
        parser.error(f"argument --repeat: each case is run at least once, not {options.repeat} times")
    return options


def scale_of(options: argparse.Namespace) -> Scale:
    """The sizes that were asked for."""
    return "quick" if options.quick else "full"


def measure(outcomes: Sequence[Outcome], peers: Sequence[Subject], repeat: int, cache: Path) -> bool:
    """Run all cases; whether nobody has pressed Ctrl+C before the end."""
    try:
        for peer in peers:
            say(f"preparing {peer.name}")
            prepare(peer, cache)
        for outcome in outcomes:
            # A fresh server for each case, because it keeps what it was asked.
            with llm_server() if outcome.case.work.needs_server else contextlib.nullcontext({}) as variables:
                run_case(outcome, [BARE, OURS, *peers], repeat, cache, variables, say)
    except KeyboardInterrupt:
        say("interrupted: this is what was measured until then; it is neither recorded nor checked")
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, report, and give the exit status.

    1 for a failed run of this project or bare asyncio, or a regression; 130 after Ctrl+C.
    """
    options = parse(arguments)
    chosen = list(cases(scale_of(options), options.only))
    if options.list:
        sys.stdout.writelines(f"{case.work.name:<18} {case.name}\n" for case in chosen)
        return 0
    wanted = [peer for peer in PEERS if _EVERYBODY in options.peers or peer.name in options.peers]
    outcomes = [Outcome(case) for case in chosen]
    is_complete = measure(outcomes, wanted, options.repeat, options.cache.resolve())
    outcomes = [outcome for outcome in outcomes if outcome.runs or outcome.failed]
    for part in (report.table, report.growth, report.chart):
        sys.stdout.writelines(f"{line}\n" for line in part(outcomes))
        sys.stdout.write("\n")
    if not is_complete:
        return 130
    ratios = record.ratios_of(outcomes)
    recorded = record.load()
    worse = record.regressions(ratios, recorded, options.tolerance) if options.check else []
    if options.check:
        sys.stdout.writelines(f"{line}\n" for line in record.comparison(ratios, recorded, options.tolerance))
    if options.record:
        record.record(ratios)
    return 1 if worse or any({BARE.name, OURS.name} & outcome.failed.keys() for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
