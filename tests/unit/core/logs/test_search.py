from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from core.logs import search
from core.logs.search import find_records

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def id_at(moment: datetime, number: int = 0) -> str:
    digits = f"{round(moment.timestamp() * 1000):012x}7000{0x8000000000000000 + number:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def write(folder: Path, begun: datetime, written: datetime, *records: dict[str, object]) -> Path:
    segment = folder / f"{id_at(begun, len(list(folder.iterdir())))}.jsonl"
    segment.write_text("".join(f"{json.dumps(one)}\n" for one in records), encoding="utf-8")
    os.utime(segment, (written.timestamp(), written.timestamp()))
    return segment


def hourly(folder: Path, hours: int) -> list[datetime]:
    """A segment for each hour up to noon, each with ten answers."""
    begun = [NOON - timedelta(hours=hours - one) for one in range(hours)]
    for moment in begun:
        answers = [{"recommendation_id": id_at(moment + timedelta(minutes=one)), "role": "shown"} for one in range(10)]
        write(folder, moment, moment + timedelta(minutes=59), *answers)
    return begun


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The names of the segments that were opened since it was last asked."""
    found: list[str] = []
    own = Path.open

    def opening(self: Path, *args, **kwargs):
        found.append(self.name)
        return own(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", opening)

    def take() -> list[str]:
        taken = found[:]
        found.clear()
        return taken

    return take


def test_of_many_segments_only_that_is_opened_that_was_written_when_the_answer_was_given(tmp_path, opened):
    begun = hourly(tmp_path, 200)
    wanted = id_at(begun[120] + timedelta(minutes=7))
    opened()
    found = find_records(tmp_path, wanted)
    assert [one["recommendation_id"] for one in found.records] == [wanted]
    assert opened() == [f"{id_at(begun[120], 120)}.jsonl"]
    assert (found.read, found.unread) == (1, 0)


def test_an_answer_that_waited_for_the_disk_is_in_a_segment_that_was_begun_after_it(tmp_path, opened):
    begun = hourly(tmp_path, 50)
    wanted = id_at(begun[30] - timedelta(milliseconds=40))
    write(tmp_path, begun[30], NOON, {"recommendation_id": wanted, "role": "shown"})
    opened()
    assert len(find_records(tmp_path, wanted).records) == 1
    assert len(opened()) <= 3


def test_an_answer_of_a_clock_that_jumped_is_found_far_from_its_time(tmp_path):
    begun = hourly(tmp_path, 30)
    ahead = id_at(NOON + timedelta(days=40))
    write(tmp_path, begun[3], begun[4], {"recommendation_id": ahead, "role": "shown"})
    assert len(find_records(tmp_path, ahead).records) == 1


def test_an_id_that_says_no_moment_is_found_as_well(tmp_path):
    hourly(tmp_path, 3)
    write(tmp_path, NOON, NOON, {"recommendation_id": "r1", "role": "shown"})
    assert len(find_records(tmp_path, "r1").records) == 1


def test_shadows_are_found_in_the_segment_after_the_one_that_is_full(tmp_path, opened):
    begun = hourly(tmp_path, 100)
    wanted = id_at(begun[50] + timedelta(minutes=58))
    full = begun[50] + timedelta(minutes=58)
    write(tmp_path, full - timedelta(minutes=1), full, {"recommendation_id": wanted, "role": "shown"})
    write(tmp_path, full + timedelta(seconds=2), full, {"recommendation_id": wanted, "role": "shadow"})
    opened()
    assert {one["role"] for one in find_records(tmp_path, wanted).records} == {"shown", "shadow"}
    assert len(opened()) <= 4


def test_lines_that_only_name_the_answer_or_were_cut_short_are_none_of_it(tmp_path):
    wanted = id_at(NOON)
    segment = write(tmp_path, NOON, NOON, {"recommendation_id": id_at(NOON, 1), "role": "shown", "request_id": wanted})
    with segment.open("a", encoding="utf-8") as file:
        file.write(f'{{"recommendation_id": "{wanted}", "ro')
    assert find_records(tmp_path, wanted).records == []


def test_a_line_is_found_wherever_the_pieces_end_that_are_read(tmp_path, monkeypatch):
    answers = [{"recommendation_id": id_at(NOON, one), "role": "shown", "items": ["i"] * one} for one in range(20)]
    write(tmp_path, NOON, NOON, *answers)
    for size in (1, 7, 64, 500):
        monkeypatch.setattr(search, "_PIECE_BYTES", size)
        for answer in answers:
            assert find_records(tmp_path, str(answer["recommendation_id"])).records == [answer]


def test_a_search_without_time_left_says_what_it_did_not_read(tmp_path):
    hourly(tmp_path, 12)
    found = find_records(tmp_path, id_at(NOON), within_s=0.0)
    assert (found.records, found.read, found.unread) == ([], 0, 12)


def test_a_search_that_finds_nothing_says_from_when_to_when_it_looked(tmp_path):
    begun = hourly(tmp_path, 5)
    found = find_records(tmp_path, id_at(NOON, 99))
    assert (found.read, found.unread) == (5, 0)
    assert (found.since, found.until) == (begun[0], begun[4] + timedelta(minutes=59))
