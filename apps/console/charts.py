"""Plots as plain geometry: pure functions from numbers to the coordinates that a template draws as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

WIDTH, PHONE_WIDTH, HEIGHT = 720, 330, 240
LEFT, RIGHT, TOP, BOTTOM = 64, 8, 12, 28
GRID_LINES = 4
UNITS_PER_DATE = 80
SPARK_WIDTH, SPARK_HEIGHT, SPARK_MARGIN = 120, 32, 2


class Bar(NamedTuple):
    """One day's bar, in the chart's own units."""

    day: date
    value: float
    x: float
    y: float
    width: float
    height: float
    label: bool

    @property
    def middle(self) -> float:
        """Where its label stands."""
        return round(self.x + self.width / 2, 1)


class Tick(NamedTuple):
    """A line across at a value."""

    value: float
    y: float


@dataclass(frozen=True, slots=True)
class BarChart:
    """Bars by day over an axis of round numbers."""

    bars: list[Bar]
    ticks: list[Tick]
    width: int
    height: int = HEIGHT
    left: int = LEFT
    top: int = TOP
    base: int = HEIGHT - BOTTOM

    @property
    def span(self) -> int:
        """How high the tallest possible bar is."""
        return self.base - self.top

    @property
    def right(self) -> int:
        """Where the lines across end."""
        return self.width - RIGHT

    @property
    def highest(self) -> Bar | None:
        """The tallest bar; nothing when all are empty."""
        best = max(self.bars, key=lambda bar: bar.value, default=None)
        return best if best is not None and best.value > 0 else None


def bars(days: Sequence[tuple[date, float]], *, width: int = WIDTH) -> BarChart:
    """A bar for each day.

    >>> chart = bars([(date(2026, 1, 1), 3.0), (date(2026, 1, 2), 7.0)])
    >>> [tick.value for tick in chart.ticks], chart.highest.day.day
    ([0.0, 2.0, 4.0, 6.0, 8.0], 2)
    """
    step = round_step(max((value for _day, value in days), default=0) / GRID_LINES)
    top = step * max(1, math.ceil(max((value for _day, value in days), default=0) / step - 1e-9))
    span, floor = HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
    ticks = [Tick(step * index, round(floor - span * step * index / top, 1)) for index in range(round(top / step) + 1)]
    slot = (width - LEFT - RIGHT) / max(1, len(days))
    every = max(1, math.ceil(len(days) * UNITS_PER_DATE / (width - LEFT)))
    made = [
        Bar(
            day=day,
            value=value,
            x=round(LEFT + slot * index + slot * 0.15, 1),
            y=round(floor - span * value / top, 1),
            width=round(slot * 0.7, 1),
            height=round(span * value / top, 1),
            label=(len(days) - 1 - index) % every == 0,
        )
        for index, (day, value) in enumerate(days)
    ]
    return BarChart(bars=made, ticks=ticks, width=width)


def round_step(raw: float) -> float:
    """The round number (1, 2 or 5 times a power of ten) at or above it; 1 for nothing.

    >>> round_step(0), round_step(3.2), round_step(0.013), round_step(120)
    (1.0, 5.0, 0.02, 200.0)
    """
    if raw <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(raw))
    factor = next(factor for factor in (1, 2, 5, 10) if factor * power >= raw * (1 - 1e-9))
    return float(f"{factor * power:.6g}")


@dataclass(frozen=True, slots=True)
class Spark:
    """A small line; `path` breaks where there is no number. `end` is its last point."""

    path: str
    area: str
    end: tuple[float, float] | None
    width: int = SPARK_WIDTH
    height: int = SPARK_HEIGHT


def spark(values: Sequence[float | None]) -> Spark:
    """A line through the values, from zero up.

    >>> spark([0, 1]).path, spark([None, None]).path
    ('M2.0 30.0L118.0 2.0', '')
    """
    top = max((value for value in values if value is not None), default=0) or 1
    across, up = SPARK_WIDTH - 2 * SPARK_MARGIN, SPARK_HEIGHT - 2 * SPARK_MARGIN
    step = across / max(1, len(values) - 1)
    pieces, points, pen_down = [], [], False
    for index, value in enumerate(values):
        if value is None:
            pen_down = False
            continue
        x, y = round(SPARK_MARGIN + step * index, 1), round(SPARK_HEIGHT - SPARK_MARGIN - up * value / top, 1)
        pieces.append(f"{'L' if pen_down else 'M'}{x} {y}")
        points.append((x, y))
        pen_down = True
    floor = SPARK_HEIGHT - SPARK_MARGIN
    outline = "".join(f"L{x} {y}" for x, y in points)
    area = f"M{points[0][0]} {floor}{outline}L{points[-1][0]} {floor}Z" if len(points) > 1 else ""
    return Spark(path="".join(pieces), area=area, end=points[-1] if points else None)
