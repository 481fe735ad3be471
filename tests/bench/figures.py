"""How figures are kept and printed."""

from __future__ import annotations

import statistics

#: who or what was measured -> its figures, one a round
Figures = dict[str, list[float]]


def table(title: str, unit: str, figures: Figures, *, lower_is_better: bool = False) -> None:
    """Print the medians of a figure, their spread, and of two contestants the ratio of the first to the second."""
    print(f"\n{title}")
    medians = {name: statistics.median(values) for name, values in figures.items()}
    width = max(16, *(len(name) for name in figures))
    for name, values in figures.items():
        spread = f"{_written(min(values))} – {_written(max(values))}"
        print(f"  {name:<{width}}{_written(medians[name]):>12} {unit:<14} ({spread})")
    if len(medians) == 2:
        ours, theirs = medians.values()
        ratio = theirs / ours if lower_is_better else ours / theirs
        print(f"  {'ratio':<{width}}{_written(ratio):>12} ×")


def _written(value: float) -> str:
    return f"{value:,.{1 if value >= 10 else 2}f}"
