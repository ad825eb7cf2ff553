"""Figures of experiments where rules pinned items: whatever ranked the others has no merit of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core.experiments import CHAMPION
from core.logs.events import EventLog
from monitoring.online.figures import compute_figures
from tests.unit.monitoring.online.test_figures import NOON, SETTINGS, answer, click, experiment, standing
from tests.unit.monitoring.online.test_shown import write


def test_pinned_items_are_no_merit_of_a_variant(tmp_path: Path) -> None:
    rules = ("pin:spring", "boost:0")
    log = write(
        tmp_path / "predictions",
        *(answer(n, "new", f"new{n}", items=("i7", f"i{n % 2}"), rules=rules) for n in range(4)),
        *(answer(10 + n, CHAMPION, f"old{n}", items=("i7", "i3"), rules=rules) for n in range(4)),
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([click(n, "i7") for n in range(4)] + [click(1, "i1"), click(10, "i7")])
    figures = compute_figures(
        experiment(), standing(tmp_path), log, events, SETTINGS, now=NOON + timedelta(seconds=700)
    )
    champion, new = figures.variants
    assert (new.impressions, new.clicks, champion.impressions, champion.clicks) == (4, 1, 4, 0)
    rates = [new.ctr, new.hit_rate, champion.hit_rate]
    assert [one and one.value for one in rates] == [0.25, 0.25, 0.0]
    assert (new.coverage, champion.coverage) == (2 / 8, 1 / 8)


def test_a_list_of_pinned_items_alone_is_none_without_a_hit(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        *(answer(n, "new", "u", items=("i7", "i1"), rules=("", "")) for n in range(2)),
        *(answer(2 + n, "new", "u", items=("i7", "i3"), rules=("pin:0", "pin:1")) for n in range(2)),
        *(answer(10 + n, "new", "u", role="shadow", overlap=one) for n, one in enumerate((0.5, None))),
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([click(0, "i7")])
    figures = compute_figures(
        experiment(), standing(tmp_path), log, events, SETTINGS, now=NOON + timedelta(seconds=700)
    )
    new = figures.variants[1]
    assert new.hit_rate is not None
    assert (new.answers, new.hit_rate.value) == (4, 0.5)


def test_a_user_who_clicks_what_is_pinned_alone_is_no_hit_in_the_test(tmp_path: Path) -> None:
    log = write(
        tmp_path / "predictions",
        *(answer(n, CHAMPION if n % 2 else "new", f"u{n}", rules=("pin:0", "")) for n in range(240)),
    )
    events = EventLog(tmp_path / "events.sqlite")
    events.append([click(n, "i0") for n in range(240)] + [click(n, "i1") for n in range(0, 60, 2)])
    figures = compute_figures(
        experiment(), standing(tmp_path), log, events, SETTINGS, now=NOON + timedelta(seconds=700)
    )
    (test,) = figures.tests
    assert test.control_hit_rate == 0.0
    assert test.difference is not None
    assert test.difference.value == pytest.approx(0.25, abs=0.01)
