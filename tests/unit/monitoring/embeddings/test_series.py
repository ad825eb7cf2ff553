"""Signals of embeddings of shops in which nothing moves, what is taken, or who comes."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb
import numpy as np
import pytest

from core.alarms import Alarm
from monitoring.calibration import Moved, measure
from monitoring.embeddings import series as module
from monitoring.embeddings.items import PlacedItems
from monitoring.embeddings.series import ITEMS, USERS, item_and_user_series, items_note
from monitoring.signals.activity import Span
from monitoring.signals.columns import Rows, word_series
from monitoring.verdict import judge
from tests.unit.monitoring.embeddings.shop import DAYS, IDS, is_oaky, placed, write_picked

SPAN = Span(datetime(2025, 6, 1, tzinfo=UTC), DAYS)


def _moved(seed: int, turned: str = "") -> list[Moved]:
    """Of embeddings, and of the items' categories."""
    with duckdb.connect() as connection:
        write_picked(connection, seed, turned)
        found = item_and_user_series(connection, placed(), DAYS)
        names = ", ".join(f"('{one}', '{n % 4}')" for n, one in enumerate(IDS))
        connection.execute(f"CREATE TABLE named AS SELECT hash(col0) AS iid, col1 AS v FROM (VALUES {names})")
        found += word_series(connection, Rows("items.category", "picked JOIN named USING (iid)", "v"), DAYS)
        return [one for series in found for one in measure(series, DAYS, 60)]


def _alarms(moved: list[Moved]) -> tuple[Alarm, ...]:
    return judge(moved, SPAN, DAYS, 0.05).alarms


def test_users_who_turn_to_other_items_of_the_same_category_are_found_by_embeddings_alone() -> None:
    (alarm,) = _alarms(_moved(1, "items"))
    assert (alarm.signal, alarm.family) == (ITEMS, "embeddings")
    toward, away = (
        [IDS.index(part.partition("”")[0]) for part in side.split("“Title ")[1:]]
        for side in alarm.says.split("and away from such as")
    )
    assert (len(toward), len(away)) == (2, 2)
    assert not is_oaky(np.array(toward)).any(), alarm.says
    assert is_oaky(np.array(away)).all(), alarm.says


def test_other_users_who_come_are_found_whatever_they_take() -> None:
    alarms = _alarms(_moved(1, "users"))
    assert [alarm.signal for alarm in alarms] == [USERS]
    assert "those who came had taken before" in alarms[0].says


def test_quiet_shops_have_no_more_alarms_than_the_setting() -> None:
    looks = [_moved(seed) for seed in range(30)]
    assert sum(bool(_alarms(moved)) for moved in looks) <= 2  # 1.5 of 30 by the setting, if a look were a week
    for name in (ITEMS, USERS):
        p = np.exp([one.log_p for moved in looks for one in moved if one.series.name == name and not one.note])
        assert len(p) == 90
        assert (p < 0.01).mean() <= 0.02
        assert (p < 0.5).mean() > 0.05  # it says something


def test_a_user_counts_once_a_day_by_the_mean_of_what_they_take_and_is_what_they_took_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "HISTORY_DAYS", 2)
    items = PlacedItems("d", ("a", "b"), ("a", "b"), np.array([[1.0, 0.0], [0.0, 1.0]]))
    rows = [(0, 1, "a", 5, 1.0), (0, 3, "b", 6, 1.0), (1, 4, "b", 6, 1.0), (2, 1, "b", 9, 0.5), (2, 1, "a", 10, 0.25)]
    rows += [(2, 1, "?", 11, 0.25), (2, 2, "b", 3, 1.0), (3, 3, "a", 12, 1.0), (3, 4, "a", 13, 1.0)]
    with duckdb.connect() as connection:
        connection.execute(
            f"""CREATE TABLE picked AS SELECT col0 AS day, hash(col1) AS uid, hash(col2) AS iid, col3 AS us, col4 AS w
            FROM (VALUES {", ".join(map(str, rows))})"""
        )
        of_items, of_users = item_and_user_series(connection, items, 4)
    # The two items lie on one line: along it, a mean is the share of one of them, times how far they lie apart.
    assert of_items.exposure.tolist() == [2, 1, 2, 2]
    shares = of_items.sums[:, 0] / of_items.exposure / np.sqrt(2)
    np.testing.assert_allclose(np.abs(shares - shares[1]), [1 / 2, 0, 1 / 6, 1])
    # The first days know too little; on day 2 user 1 came, who had taken a; on day 3 user 4, who had taken b the day
    # before the last, and user 3, who took nothing within two days.
    assert (of_users.begins, of_users.exposure.tolist()) == (2, [1, 1])
    assert abs(of_users.sums[1, 0] - of_users.sums[0, 0]) == pytest.approx(np.sqrt(2))


def test_a_day_has_an_upper_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_USERS", 7)
    with duckdb.connect() as connection:
        write_picked(connection, 1)
        of_items, of_users = item_and_user_series(connection, placed(), DAYS)
    assert of_items.exposure.tolist() == [7] * DAYS
    assert of_users.exposure.max() == 7


def test_without_vectors_nothing_is_watched_and_it_is_told() -> None:
    nothing = PlacedItems("d", (), (), np.zeros((0, 0)))
    with duckdb.connect() as connection:
        assert item_and_user_series(connection, None, DAYS) == item_and_user_series(connection, nothing, DAYS) == []
    assert "No bundle in service has vectors" in items_note(None)
    assert "Too few items have a text" in items_note(nothing)
    assert items_note(placed()) == ""
