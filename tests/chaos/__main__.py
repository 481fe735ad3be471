"""Break OnCue on purpose, and print what was accepted, lost, repeated, and how fast it recovered.

just chaos [--short] [--seed N] [--keep FOLDER] [SCENARIO …]
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

from tests.chaos.playing import SCENARIOS, Scenario, play
from tests.chaos.stage import Outcome

HEAD = "| scenario | accepted | succeeded | failed | lost | run again | recovery p50 / p95 | and |\n|---|---|---|---|---|---|---|---|"


def row(outcome: Outcome) -> str:
    """Return an outcome as a row of the table in docs/reliability.md."""
    found = outcome.findings
    middle, slow = found.percentile(0.5), found.percentile(0.95)
    recovery = f"{middle:.1f} s / {slow:.1f} s" if middle is not None and slow is not None else ""
    counts = f"{found.accepted:,} | {found.succeeded:,} | {found.failed:,} | {found.lost} | {found.repeats}"
    return f"| {outcome.name} | {counts} | {recovery} | {'; '.join(outcome.notes)} |"


def chosen(names: list[str]) -> list[Scenario]:
    """Return the scenarios whose names begin with any of the given words; all when none is given."""
    found = [each for each in SCENARIOS if not names or any(each.name.startswith(name.replace("_", " ")) for name in names)]
    if not found:
        sys.exit(f"no scenario is named {' or '.join(names)}; there are: {', '.join(each.name for each in SCENARIOS)}")
    return found


def main() -> int:
    """Play what is asked for; return 1 when anything was violated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    parser.add_argument("--short", action="store_true", help="play as `just test` does, with a lease of 2 s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--keep", type=Path, help="keep logs, journal and data in FOLDER/SEED")
    asked = parser.parse_args()
    print(f"seed {asked.seed}\n\n{HEAD}", flush=True)
    violated = []
    for scenario in chosen(asked.scenarios):
        if lacks := scenario.lacks():
            print(f"| {scenario.name} | SKIPPED: {lacks} |||||||", flush=True)
            continue
        folder = asked.keep / str(asked.seed) / scenario.name.replace(" ", "-") if asked.keep else None
        outcome = play(scenario, seed=asked.seed, is_short=asked.short, folder=folder)
        print(row(outcome), flush=True)
        if outcome.findings.violations:
            violated.append(outcome)
    for outcome in violated:
        print(f"\n{outcome.name} (seed {outcome.seed}, {outcome.seconds:.0f} s, answers {dict(outcome.answers)}):")
        for violation in outcome.findings.violations[:20]:
            print(f"  - {violation}")
    return 1 if violated else 0


if __name__ == "__main__":
    sys.exit(main())
