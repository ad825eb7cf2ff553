"""Signals of texts of small shops, in which nothing or one thing moves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES
from monitoring.calibration import measure
from monitoring.signals import texts
from monitoring.signals.activity import FloodRule, Span, open_database, read_activity
from monitoring.signals.series import Series
from monitoring.signals.texts import text_series
from monitoring.verdict import judge

DAYS, TURN, WRITERS = 150, 143, 20
SPAN = Span(datetime(2025, 6, 1, tzinfo=UTC), DAYS)
ENGLISH = [
    "I",
    "bought",
    "this",
    "for",
    "my",
    "sister",
    "and",
    "she",
    "is",
    "very",
    "happy",
    "with",
    "it",
    "because",
    "it",
    "works",
    "every",
    "day",
]
GERMAN = [
    "Ich",
    "habe",
    "das",
    "für",
    "meine",
    "Schwester",
    "gekauft",
    "und",
    "sie",
    "ist",
    "sehr",
    "glücklich",
    "damit,",
    "weil",
    "es",
    "jeden",
    "Tag",
    "geht",
]
Change = Callable[[str, float], str]  # of a text, with a number drawn from 0 to 1


def _in_german(text: str, drawn: float) -> str:
    return " ".join(GERMAN[: len(text.split())]) if drawn < 0.5 else text


def _series(folder: Path, change: Change = lambda text, _: text) -> dict[str, Series]:
    rng, order, rows = np.random.default_rng(3), np.random.default_rng(4), []
    for day in range(DAYS):
        for writer in range(WRITERS):
            words = order.permutation(ENGLISH)  # nobody repeats another one's sentence
            text = " ".join(words[: int(rng.integers(7, len(ENGLISH) + 1))]) if rng.random() > 0.1 else "Good"
            drawn = float(rng.random())
            at = SPAN.starts(day) + timedelta(hours=1, seconds=int(rng.integers(70_000)))
            user = f"u{day}-{writer}"
            text = change(text, drawn) if day >= TURN else text
            rows.append({"user_id": user, "item_id": "i", "rating": 5.0, "text": text, "timestamp": at})
    return _read(folder, rows)


def _read(folder: Path, rows: list[dict[str, object]]) -> dict[str, Series]:
    for name, found in (("feedback", rows), ("interactions", [])):
        pq.write_table(pa.Table.from_pylist(found, schema=TABLES[name].arrow()), folder / f"{name}.parquet")  # type: ignore[index]
    with open_database(1.0, folder) as connection:
        read_activity(connection, folder, SPAN, FloodRule(20, 50))
        return {one.name: one for one in text_series(connection, folder, SPAN)}


def _first_alarm(found: dict[str, Series]) -> str | None:
    moved = [one for series in found.values() for one in measure(series, DAYS, 60)]
    alarms = judge(moved, SPAN, DAYS, 0.05).alarms
    return alarms[0].signal if alarms else None


def test_quiet_texts_call_no_alarm(tmp_path: Path) -> None:
    found = _series(tmp_path)
    others = {"text.length.level", "text.short_share", "text.other_script_share", "text.repeated_share"}
    assert set(found) == others | {name for name in found if name.startswith("text.language.")}
    language = found["text.language.new_values"]
    assert language.exposure.sum() > 0.8 * DAYS * WRITERS  # short texts have none
    assert _first_alarm(found) is None


CASES: dict[str, tuple[Change, str]] = {
    "German": (_in_german, "text.language."),
    "Russian": (lambda text, drawn: "Это очень хорошая вещь" if drawn < 0.5 else text, "text."),
    "empty": (lambda text, drawn: "" if drawn < 0.5 else text, "text.short_share"),
    "long": (lambda text, _: f"{text} {text} {text}" if " " in text else text, "text.length.level"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_moved_is_named_first(tmp_path: Path, case: str) -> None:
    change, signal = CASES[case]
    assert (_first_alarm(_series(tmp_path, change)) or "").startswith(signal)


def test_a_language_is_read_off_its_stop_words(tmp_path: Path) -> None:
    said = {
        "english": " ".join(ENGLISH),
        "german": " ".join(GERMAN),
        "french": "Je suis très content de cet achat, mais il est arrivé avec deux jours de retard",
        "russian": "Я очень доволен этой покупкой, но она была слишком дорогой для меня",
        "(other script)": "ჩემთვის ძალიან კარგი ნივთია",
        "(unclear)": "xylophone zzyzx qwerty",
    }
    rows = [
        {"user_id": f"{name}{n}", "item_id": "i", "rating": 5.0, "text": text, "timestamp": SPAN.starts(3 + n)}
        for n in range(2)
        for name, text in said.items()
    ]
    mix = _read(tmp_path, rows)["text.language.mix"]
    assert dict(zip(mix.labels, mix.sums.sum(axis=0), strict=True)) == dict.fromkeys(said, 2.0)


def test_a_busy_writer_is_one_and_a_day_has_an_upper_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MAX_TEXTS", 4)
    rows = [
        {"user_id": user, "item_id": f"i{n}", "rating": 5.0, "text": " ".join(ENGLISH), "timestamp": SPAN.starts(day)}
        for day, users in ((5, ["a", "b"]), (6, list("abcdefgh")))
        for user in users
        for n in range(10)
    ]
    exposure = _read(tmp_path, rows)["text.short_share"].exposure
    assert (exposure[5], exposure[6], exposure.sum()) == (2, 4, 6)


def test_without_reviews_there_is_no_signal(tmp_path: Path) -> None:
    assert not _read(tmp_path, [])
