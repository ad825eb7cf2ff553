"""Reviews as vectors: what is kept of them, how many a look embeds, and that a change of topic is found."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.schema import TABLES
from monitoring.calibration import measure
from monitoring.embeddings import reviews as module
from monitoring.embeddings.reviews import STORE, embed_reviews, encoder_digest, read_reviews
from monitoring.embeddings.series import REVIEWS, items_note, review_series, reviews_note
from monitoring.extent import Extent, find_extent
from monitoring.signals.activity import FloodRule, Span, open_database, read_activity
from monitoring.signals.texts import text_series
from monitoring.verdict import judge
from tests.unit.monitoring.embeddings.shop import placed

DAYS, TURN = 150, 143
END = datetime(2025, 6, 1, tzinfo=UTC)
SPAN, RULE = Span(END, DAYS), FloodRule(20, 50)
# Of equal length, so that nothing but the topic changes.
TASTE, PARCEL = ["sweet", "fruit", "spicy", "woody", "fresh"], ["boxes", "label", "depot", "driver"[:5], "late."]
FRAME = "I bought this for my sister and she said that it was all about the {} and the {} with every {} in it"


class Encoder:
    """A text as the sum of a vector of each of its words; it counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        rows = np.array([sum(_vector(word) for word in text.split()) for text in texts])
        found: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return found


@cache
def _vector(word: str) -> np.ndarray:
    return np.random.default_rng(zlib.crc32(word.encode())).normal(size=40)


def _write(folder: Path, seed: int = 1, share: float = 0.0, writers: int = 20, days: int = DAYS) -> Path:
    """Reviews of some writers a day; from day `TURN` on a share of them is about parcels."""
    rng, rows = np.random.default_rng(seed), []
    for day in range(days):
        for writer in range(writers):
            topic = PARCEL if day >= TURN and rng.random() < share else TASTE
            at = SPAN.starts(day) + timedelta(seconds=int(rng.integers(80_000)))
            rows.append({
                "user_id": f"somebody-{day}-{writer}", "item_id": "i", "rating": 5.0, "timestamp": at,
                "text": FRAME.format(*rng.choice(topic, 3)),
            })  # fmt: skip
    last = rows[-1] | {"timestamp": SPAN.starts(days) - timedelta(microseconds=1)}
    events = [_event(row, n) for n, row in enumerate([*rows, last])]
    folder.mkdir(parents=True, exist_ok=True)
    for name, found in (("feedback", rows), ("interactions", events)):
        pq.write_table(pa.Table.from_pylist(found, schema=TABLES[name].arrow()), folder / f"{name}.parquet")  # type: ignore[index]
    return folder


def _event(row: dict[str, Any], n: int) -> dict[str, Any]:
    own = {key: row[key] for key in ("user_id", "item_id", "timestamp")}
    return own | {"event_id": f"e{n}", "event": "view", "position": n}


def _embed(kept: Path, clean: Path, encode: Encoder, encoder: str = "e") -> module.Reviews:
    return embed_reviews(kept, clean, find_extent(clean), RULE, encoder, encode)


def _note(kept: module.Reviews | None) -> str:
    return reviews_note(kept, placed(), SPAN, END - timedelta(microseconds=1))


def _alarms(tmp_path: Path, clean: Path, beside: bool) -> list[str]:
    """Of the reviews' embeddings, and of the signals of texts beside them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(module, "MAX_A_LOOK", 100_000)
        found = review_series(_embed(tmp_path / "watched", clean, Encoder()), SPAN)
    if beside:
        with open_database(1.0, tmp_path) as connection:
            read_activity(connection, clean, SPAN, RULE)
            found += [one for one in text_series(connection, clean, SPAN) if "repeated" not in one.name]
    moved = [one for series in found for one in measure(series, DAYS, 60)]
    assert any(one.series.name == REVIEWS and not one.note for one in moved)
    return [alarm.signal for alarm in judge(moved, SPAN, DAYS, 0.05).alarms]


def test_reviews_that_change_their_topic_at_the_same_length_and_language_are_found(tmp_path: Path) -> None:
    assert _alarms(tmp_path, _write(tmp_path / "clean", share=0.4), beside=True) == [REVIEWS]


def test_quiet_reviews_have_no_more_alarms_than_the_setting(tmp_path: Path) -> None:
    places = [tmp_path / str(seed) for seed in range(12)]
    looks = [_alarms(place, _write(place / "clean", seed), beside=False) for seed, place in enumerate(places)]
    assert sum(map(bool, looks)) <= 1


def test_a_look_embeds_a_number_of_texts_at_most_the_newest_days_first_and_each_day_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_A_LOOK", 70)
    monkeypatch.setattr(module, "NEEDED_DAYS", 0)
    clean, encode = _write(tmp_path / "clean", days=20), Encoder()
    monkeypatch.setattr(module, "days_to_replay", lambda extent, known, _: [
        day for n in range(DAYS) if (day := SPAN.starts(n).date()) not in {one.day for one in known}
    ])  # fmt: skip
    seen = []
    for _ in range(7):
        kept = _embed(tmp_path / "watched", clean, encode)
        seen.append((sum(one.n for one in kept.days), len(encode.asked)))
    assert seen == [(60, 60), (120, 120), (180, 180), (240, 240), (300, 300), (360, 360), (400, 400)]
    first = SPAN.starts(17).date()
    assert kept == read_reviews(tmp_path / "watched")
    assert len(kept.days) == DAYS  # days without anybody are done, too
    assert [one.day for one in kept.days if one.n][17] == first
    before = (tmp_path / "watched" / STORE).read_bytes()
    assert _embed(tmp_path / "watched", clean, encode) == kept
    assert ((tmp_path / "watched" / STORE).read_bytes(), len(encode.asked)) == (before, 400)
    assert sum(one.n for one in _embed(tmp_path / "watched", clean, encode, "another").days) == 60


def test_of_a_day_with_few_people_nothing_is_kept_and_of_the_others_no_text_and_nobody(tmp_path: Path) -> None:
    encode = Encoder()
    few = _embed(tmp_path / "few", _write(tmp_path / "a", writers=4, days=2), encode)
    assert (encode.asked, few.n, {one.n for one in few.days}) == ([], 0, {0})
    assert review_series(few, SPAN) == []
    assert "No day with texts of 5 people" in _note(few)
    _embed(tmp_path / "many", _write(tmp_path / "b", writers=5, days=2), encode)
    told = (tmp_path / "many" / STORE).read_text()
    assert len(encode.asked) == 10
    assert not any(word in told for word in ["somebody", *TASTE, "sister"])


def test_the_first_look_embeds_a_quiet_past_at_once_and_older_days_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_A_LOOK", 70)
    clean, encode = _write(tmp_path / "clean", writers=30), Encoder()
    for n in (98, 100, 102):
        kept = _embed(tmp_path / "watched", clean, encode)
        assert (len(kept.days), len(encode.asked)) == (n, n * 30)
        assert kept.days[-1].day == SPAN.starts(DAYS - 1).date()
        assert _note(kept) == ""
        (series,) = review_series(kept, SPAN)
        assert [one.note for one in measure(series, DAYS, 60)] == [""] * 3


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_days_that_are_not_embedded_yet_say_nothing_and_what_was_seen_before_stays(
    tmp_path: Path, share: float
) -> None:
    """A look before `monitor` has embedded the last three days, as that of a run of the pipeline."""
    clean = _write(tmp_path / "clean", share=share)
    extent = Extent(first=SPAN.starts(0), newest=SPAN.starts(DAYS - 3) - timedelta(microseconds=1))
    kept = embed_reviews(tmp_path / "watched", clean, extent, RULE, "e", Encoder())
    (series,) = review_series(kept, SPAN)
    moved = list(measure(series, DAYS, 60))
    assert [one.exposure for one in moved] == [0, 80, 500]
    assert moved[0].note.startswith("too few: 0")
    assert [one.signal for one in judge(moved, SPAN, DAYS, 0.05).alarms] == ([REVIEWS] if share else [])
    assert _note(kept).startswith("Watched up to 2025-05-28: embeddings of reviews. The next look of `monitor`")
    assert "No bundle in service" in reviews_note(kept, None, SPAN, END)
    # No review could have come on a day without any event.
    assert reviews_note(kept, placed(), SPAN, SPAN.starts(DAYS - 3)) == ""


def test_a_past_that_is_short_and_what_no_look_has_embedded_is_told(tmp_path: Path) -> None:
    kept = _embed(tmp_path / "watched", _write(tmp_path / "clean", days=20), Encoder())
    span = Span(SPAN.starts(20), 20)
    assert "is 20 days old" in reviews_note(kept, placed(), span, span.end)
    assert _note(None).startswith("Not watched yet: embeddings of reviews. They are embedded by looks of `monitor`")
    assert reviews_note(None, None, SPAN, END).startswith("Not watched: embeddings of reviews. No bundle in service")


def test_an_encoder_that_is_away_is_the_reason_that_is_told(tmp_path: Path) -> None:
    away = "Cannot load text encoder: recipe.encoder.model=/nowhere, expected an existing folder."
    clean = _write(tmp_path / "clean")
    extent = Extent(first=SPAN.starts(0), newest=SPAN.starts(DAYS - 3) - timedelta(microseconds=1))
    behind = embed_reviews(tmp_path / "watched", clean, extent, RULE, "e", Encoder())
    for items in (placed(), None):
        assert reviews_note(None, items, SPAN, END, away) == f"Not watched: embeddings of reviews. {away}"
        told = reviews_note(behind, items, SPAN, END, away)
        assert told == f"Watched up to 2025-05-28: embeddings of reviews. {away}"
    assert items_note(None, away) == f"Not watched: embeddings of items and users. {away}"
    assert items_note(placed(), away) == ""


def test_another_encoder_has_another_digest() -> None:
    one = encoder_digest({"model": "a"}, "files")
    assert one == encoder_digest({"model": "a"}, "files")
    assert len({one, encoder_digest({"model": "b"}, "files"), encoder_digest({"model": "a"}, "other")}) == 3
