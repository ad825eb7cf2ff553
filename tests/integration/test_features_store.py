"""The room with Feast itself: refresh, point in time, online, all over one small shop."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from features.definitions import MEANINGS, ONLINE_USER, PAIR_SCORER, USER_EVENTS
from features.derivation import derive_item, derive_user
from features.errors import FeastFailure, FeatureError, FeaturesOutdated, StoreNotReady
from features.offline_store import with_columns
from features.online import OnlineFeatures
from features.publication import OFFLINE_FOLDER
from features.refresh import online_store_of, refresh_features
from features.rows import StoredRow
from features.sketches import new_user
from features.store import ONLINE_FILE, REGISTRY_FILE, open_store
from features.training import build_training_set
from features.views import FACTS, ITEM_PROFILE, USER_HISTORY, VIEWS
from recommender.errors import TrainingDataError
from recommender.schema import TIME, TRAINING_TABLES
from recommender.settings import EvaluationSettings, FeatureSettings
from recommender.user import Interaction, UserState
from tests.unit.features.plain import Told, item_features, same, user_features
from tests.unit.features.shops import SECOND, START, START_US, Row, clocks, history_before, ratings_before, write_shop

SETTINGS = FeatureSettings(max_history=3)
LATER = START + timedelta(days=2)
EVALUATION = EvaluationSettings(validation_share=0.2, test_share=0.2)
USERS = {"u": {"country": "FR"}, "v": {"country": "NL"}, "quiet": {"country": None}}
ITEMS: list[dict[str, Any]] = [
    {"item_id": "a", "title": "Anvil", "brand": "Acme", "category": "Tools > Heavy", "price": 9.5},
    {"item_id": "b", "description": "A bell"},
    *({"item_id": item} for item in "cdefg"),
]
# Seconds 0 to 9; the shares put the cuts at 6 and 8.
LOG = [
    Row("u", "a", 0, 5.0), Row("u", "b", 1), Row("u", "c", 2, 2.0), Row("v", "c", 3, 4.0), Row("u", "d", 4),
    Row("u", "a", 5), Row("u", "e", 6, 3.0), Row("w", "c", 7, 1.0), Row("u", "a", 8, 1.0), Row("v", "f", 9, 5.0),
]  # fmt: skip
REVIEWS = [
    ("u", "a", 0, "twang and more"), ("w", "g", 1, "plain"), ("u", "c", 2, "twang once again"),
    ("v", "c", 3, "a longer text about it"), ("u", "e", 6, "too late to tell of"),
    ("w", "c", 7, "the longest text of them all, but after the cut"),
]  # fmt: skip


def event(item: str, at: float, *, user: str = "u", value: float | None = None, kind: str = "view") -> Interaction:
    return Interaction(f"{user}-{item}-{at}", user, item, kind, START + timedelta(seconds=at), value)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    users = {**USERS, "w": {"country": None}}
    return write_shop(tmp_path_factory.mktemp("shop") / "clean", LOG, users=users, items=ITEMS, reviews=REVIEWS)


@pytest.fixture(scope="module")
def refreshed(clean: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A refreshed store that no test writes to."""
    feast = tmp_path_factory.mktemp("feast")
    refresh_features(clean, feast, SETTINGS)
    return feast


@pytest.fixture
def feast(clean: Path, tmp_path: Path) -> Path:
    """A refreshed store of the test's own."""
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    return tmp_path / "feast"


@pytest.fixture(scope="module")
def training(clean: Path, refreshed: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict]]:
    folder = tmp_path_factory.mktemp("training") / "set"
    summary = build_training_set(clean, refreshed, folder, SETTINGS, EVALUATION)
    assert (summary.validation_at, summary.test_at) == (
        (START + timedelta(seconds=6)).isoformat(), (START + timedelta(seconds=8)).isoformat(),
    )  # fmt: skip
    assert summary.first_event_at == START.isoformat()
    assert summary.last_event_at == (START + timedelta(seconds=9)).isoformat()
    tables = {name: pq.read_table(folder / f"{name}.parquet") for name in TRAINING_TABLES}
    for name, table in tables.items():
        assert table.schema.equals(TRAINING_TABLES[name]), name
        assert summary.rows[name] == table.num_rows
    assert summary == type(summary).model_validate_json((folder / "summary.json").read_text(encoding="utf-8"))
    return {name: table.to_pylist() for name, table in tables.items()}


def test_the_catalogue_is_as_of_the_cut(training: dict[str, list[dict]]) -> None:
    catalogue = {row["item_id"]: row for row in training["catalogue"]}
    assert list(catalogue) == list("abcdefg")
    assert catalogue["a"]["item_text"] == "Anvil. Acme, Tools > Heavy"
    assert catalogue["a"]["price"] == 9.5
    assert (catalogue["a"]["item_n_events"], catalogue["a"]["item_mean_rating"]) == (2, 5.0)
    assert catalogue["b"]["item_text"] == "A bell"
    # The longest review comes first, and the one after the cut, longer still, is not read.
    assert catalogue["c"]["item_text"] == "a longer text about it. twang once again"
    assert (catalogue["c"]["item_n_ratings"], catalogue["c"]["item_mean_rating"]) == (2, 3.0)
    assert catalogue["e"]["item_text"] == ""
    assert (catalogue["e"]["item_n_events"], catalogue["e"]["item_mean_rating"]) == (0, None)


def test_sequences_are_the_history_at_the_cut_in_pieces(training: dict[str, list[dict]]) -> None:
    # u's history before second 6 is b, c, d, a: the newest three, and before them b. The rating of a is remembered,
    # although a had fallen out of the newest three between its two events.
    assert training["sequences"] == [
        {"user_id": "u", "history_items": ["b"], "history_values": [None], "attributes": "country FR"},
        {
            "user_id": "u",
            "history_items": ["c", "d", "a"],
            "history_values": [2.0, None, 5.0],
            "attributes": "country FR",
        },
        {"user_id": "v", "history_items": ["c"], "history_values": [4.0], "attributes": "country NL"},
    ]


def test_queries_hold_what_was_new_to_the_user_in_the_window(training: dict[str, list[dict]]) -> None:
    found = {(row["user_id"], row["split"]): row for row in training["queries"]}
    # u's event in the test window is on an item they knew.
    assert set(found) == {("u", "validation"), ("w", "validation"), ("v", "test")}
    assert found["u", "validation"]["history_items"] == ["c", "d", "a"]
    assert found["u", "validation"]["targets"] == ["e"]
    assert (found["w", "validation"]["history_items"], found["w", "validation"]["targets"]) == ([], ["c"])
    assert (found["u", "validation"]["attributes"], found["w", "validation"]["attributes"]) == ("country FR", "")
    assert (found["v", "test"]["history_items"], found["v", "test"]["targets"]) == (["c"], ["f"])


def test_pairs_know_what_was_known_just_before(training: dict[str, list[dict]]) -> None:
    assert [(row["user_id"], row["item_id"], row["rating"], row["split"]) for row in training["pairs"]] == [
        ("u", "a", 5.0, "train"), ("u", "c", 2.0, "train"), ("u", "e", 3.0, "validation"), ("u", "a", 1.0, "test"),
        ("v", "c", 4.0, "train"), ("v", "f", 5.0, "test"), ("w", "c", 1.0, "validation"),
    ]  # fmt: skip
    first, last_of_u = training["pairs"][0], training["pairs"][3]
    assert (first["history_items"], first["mean_rating"], first["n_ratings"]) == ([], None, 0)
    assert (first["item_mean_rating"], first["item_n_ratings"]) == (None, 0)
    assert (last_of_u["history_items"], last_of_u["history_values"]) == (["d", "a", "e"], [None, 5.0, 3.0])
    assert (last_of_u["n_ratings"], last_of_u["item_mean_rating"]) == (3, 5.0)
    assert math.isclose(last_of_u["mean_rating"], 10 / 3)
    assert (last_of_u["n_views"], last_of_u["mean_price"], last_of_u["top_brands"]) == (6, 9.5, ["Acme"])
    assert (last_of_u["item_price"], last_of_u["item_popularity"], last_of_u["item_trend"]) == (9.5, [2, 2, 2], 30 / 7)
    assert (first["mean_price"], first["recency_days"], first["top_brands"]) == (None, None, [])


def test_reviews_know_the_writer_as_of_before(training: dict[str, list[dict]]) -> None:
    found = {(row["user_id"], row["item_id"]): row for row in training["reviews"]}
    assert [row["text"] for row in training["reviews"]] == [review[3] for review in REVIEWS]
    assert (found["u", "a"]["own_words"], found["u", "a"]["attributes"], found["u", "a"]["split"]) == (
        "", "country FR", "train",
    )  # fmt: skip
    assert found["u", "c"]["own_words"] == ""  # the second twang is in this very review
    assert found["u", "e"]["own_words"] == "twang"
    assert found["u", "e"]["split"] == "validation"


@settings(
    max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(
    st.lists(
        st.builds(
            Row,
            user=st.sampled_from("uvw"),
            item=st.sampled_from("abcdefgh"),
            at=st.integers(0, 12).map(float),
            value=st.none() | st.sampled_from([1.0, 3.5, 5.0]),
            event=st.sampled_from(["view", "impression"]),
        ),
        min_size=15,
        max_size=50,
    ).filter(lambda log: len({event.at for event in log if event.event == "view"}) >= 3)
)
def test_the_training_set_is_what_a_plain_recomputation_says(log: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as name:
        clean, feast, target = (Path(name) / part for part in ("clean", "feast", "training"))
        write_shop(clean, log)
        refresh_features(clean, feast, SETTINGS)
        summary = build_training_set(clean, feast, target, SETTINGS, EVALUATION)
        tables = {part: pq.read_table(target / f"{part}.parquet").to_pylist() for part in TRAINING_TABLES}
    rated = [(clock, e.user, e) for clock, e in clocks(log) if e.value is not None]
    assert len(tables["pairs"]) == len(rated)
    for row, (clock, user, rating) in zip(tables["pairs"], rated, strict=True):
        assert (row["user_id"], row["item_id"], row["rating"]) == (user, rating.item, rating.value)
        assert (row["history_items"], row["history_values"]) == history_before(log, user, clock, 3)
        assert row["n_ratings"] == len(ratings_before(log, clock, user=user))
        assert row["item_n_ratings"] == len(ratings_before(log, clock, item=rating.item))
    opens = {
        "validation": datetime.fromisoformat(summary.validation_at), "test": datetime.fromisoformat(summary.test_at),
    }  # fmt: skip
    closes = {"validation": opens["test"], "test": datetime.max.replace(tzinfo=UTC)}
    counted = [e for _, e in clocks(log)]
    for split, opening in opens.items():
        us = round((opening - START).total_seconds() * 1e6) + START_US
        found = {row["user_id"]: row for row in tables["queries"] if row["split"] == split}
        for user in "uvw":
            known = {e.item for e in counted if e.user == user and e.timestamp < opening}
            new = {e.item for e in counted if e.user == user and opening <= e.timestamp < closes[split]} - known
            assert set(found[user]["targets"] if user in found else ()) == new
            if user in found:
                assert len(found[user]["targets"]) == len(new)
                assert (found[user]["history_items"], found[user]["history_values"]) == history_before(log, user, us, 3)
    cut = round((opens["validation"] - START).total_seconds() * 1e6) + START_US
    for user in "uvw":
        whole = history_before(log, user, cut, 1000)[0]
        pieces = [row["history_items"] for row in tables["sequences"] if row["user_id"] == user]
        assert [item for piece in pieces for item in piece] == whole
        assert all(0 < len(piece) <= 3 for piece in pieces)


def test_a_refresh_is_idempotent_and_clears_up(clean: Path, tmp_path: Path) -> None:
    first = refresh_features(clean, tmp_path, SETTINGS)
    assert first.rows == {"events": 10, "reviews": 6, "users": 4, "items": 7}
    assert first.materialised_to == (START + timedelta(seconds=9)).isoformat()
    assert (first.new_events, first.rebuilt) == (10, True)
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / OFFLINE_FOLDER).rglob("*.parquet")}
    (tmp_path / OFFLINE_FOLDER / ".left.behind.unfinished").mkdir()
    nothing = {"new_events": 0, "rebuilt": False}
    assert refresh_features(clean, tmp_path, SETTINGS) == first.model_copy(update=nothing)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / OFFLINE_FOLDER).rglob("*.parquet")} == written
    other = refresh_features(clean, tmp_path, FeatureSettings(max_history=2))
    assert other == first
    assert [path.name for path in (tmp_path / OFFLINE_FOLDER).iterdir()] == ["2"]
    state = OnlineFeatures(tmp_path, SETTINGS).read_user("u")
    assert state is not None
    assert state.items == ("e", "a")


def test_a_store_that_is_current_is_left_alone_and_a_broken_one_is_made_whole(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = refresh_features(clean, tmp_path, SETTINGS)
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.create_store", lambda *_: pytest.fail("Feast was asked again"))
        assert not refresh_features(clean, tmp_path, SETTINGS).rebuilt
    (tmp_path / ONLINE_FILE).unlink()
    assert refresh_features(clean, tmp_path, SETTINGS) == first
    assert OnlineFeatures(tmp_path, SETTINGS).read_user("u") is not None


def test_a_refresh_that_failed_midway_is_done_again(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh_features(clean, tmp_path, SETTINGS)
    shorter = FeatureSettings(max_history=2)
    with monkeypatch.context() as patched:
        patched.setattr("features.refresh.publish", lambda *_: 1 / 0)
        with pytest.raises(FeastFailure, match="ZeroDivisionError: division by zero"):
            refresh_features(clean, tmp_path, shorter)
    assert refresh_features(clean, tmp_path, shorter).rebuilt
    state = OnlineFeatures(tmp_path, SETTINGS).read_user("u")
    assert state is not None
    assert len(state.items) == 2


def test_a_training_set_of_other_tables_or_settings_is_refused(clean: Path, refreshed: Path, tmp_path: Path) -> None:
    with pytest.raises(FeaturesOutdated, match=r"published=[0-9a-f]{16}, expected [0-9a-f]{16}"):
        build_training_set(clean, refreshed, tmp_path / "t", FeatureSettings(max_history=4), EVALUATION)
    assert not (tmp_path / "t").exists()


def test_a_log_of_two_instants_cannot_be_split(tmp_path: Path) -> None:
    clean = write_shop(tmp_path / "clean", [Row("u", "a", 0), Row("u", "b", 1)])
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    with pytest.raises(TrainingDataError, match="distinct_timestamps=2"):
        build_training_set(clean, tmp_path / "feast", tmp_path / "training", SETTINGS, EVALUATION)


def test_a_store_that_was_never_made_says_so_and_is_found_once_it_is(clean: Path, tmp_path: Path) -> None:
    online = OnlineFeatures(tmp_path / "feast", SETTINGS)
    with pytest.raises(StoreNotReady, match=r"missing=\['feature_store.yaml'\]"):
        online.read_user("u")
    with pytest.raises(StoreNotReady, match=r"missing="):
        online.push([event("a", 20)], [1])
    assert not (tmp_path / "feast").exists()
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    assert online.read_user("u") is not None


def test_a_damaged_registry_is_named(feast: Path) -> None:
    (feast / REGISTRY_FILE).write_bytes(b"no registry at all")
    with pytest.raises(FeastFailure, match=rf"folder={feast}, expected a Feast store, but DecodeError"):
        open_store(feast)


def test_an_unknown_user_is_none_and_a_quiet_one_is_cold(refreshed: Path) -> None:
    online = OnlineFeatures(refreshed, SETTINGS)
    assert online.read_user("nobody") is None
    assert online.read_user("w") == UserState(items=("c",), values=(1.0,), mean_rating=1.0, n_ratings=1)
    assert online.read_user("quiet") == UserState()


def test_feasts_own_reads_tell_what_the_quick_ones_do(refreshed: Path) -> None:
    store, online = open_store(refreshed), OnlineFeatures(refreshed, SETTINGS)
    frame = pd.DataFrame({"user_id": list(USERS), "event_timestamp": [START + timedelta(days=1)] * len(USERS)})
    offline = store.get_historical_features(frame, store.get_feature_service(ONLINE_USER)).to_arrow().to_pylist()
    served = store.get_online_features(store.get_feature_service(ONLINE_USER), {"user_id": list(USERS)}).to_dict()
    assert [row["user_id"] for row in offline] == list(USERS)
    for n, row in enumerate(offline):
        state = replace(UserState.from_row(row), mean_rating=None)
        quick = online.read_user(row["user_id"])
        assert quick is not None
        assert replace(quick, mean_rating=None) == state
        if row["user_id"] != "quiet":  # who has no row of the view has nulls there, as Feast has it
            assert repr({name: values[n] for name, values in served.items()}) == repr(
                {name: row[name] for name in served}
            )


@pytest.mark.parametrize(
    "pushed",
    [
        [event("g", 10)],
        [event("c", 10, value=5.0), event("g", 10), event("a", 11, kind="impression")],
        [event("f", 11), event("g", 10)],
        [event("a", 9.5, user="new", value=2.0), event("b", 9.7, user="new")],
        [event("d", 8)],
        [event("a", 4, value=2.0), event("e", 2), event("a", 9, kind="click")],
    ],
    ids=["new item", "rating, tie, ignored", "out of order", "new user", "same instant as the last", "late"],
)
def test_a_push_gives_what_a_refresh_with_the_events_would(
    feast: Path, tmp_path: Path, pushed: list[Interaction]
) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    online.push(pushed, range(1, len(pushed) + 1))
    log = LOG + [
        Row(e.user_id, e.item_id, (e.timestamp - START).total_seconds(), e.value, e.event, n + 1, e.event_id)
        for n, e in enumerate(pushed)
    ]
    user = pushed[0].user_id
    items, values = history_before(log, user, 2**60, 3)
    ratings = ratings_before(log, 2**60, user=user)
    state = online.read_user(user, LATER)
    assert state is not None
    assert (list(state.items), list(state.values)) == (items, values)
    assert state.n_ratings == len(ratings)
    users = {**USERS, "w": {"country": None}, **({"new": {"country": None}} if user == "new" else {})}
    clean = write_shop(tmp_path / "clean", log, users=users, items=ITEMS, reviews=REVIEWS)
    refresh_features(clean, tmp_path / "again", SETTINGS)
    again = OnlineFeatures(tmp_path / "again", SETTINGS).read_user(user, LATER)
    assert again == state
    assert again.features == state.features
    # The refreshed store gives the same again.
    refresh_features(clean, feast, SETTINGS)
    assert online.read_user(user, LATER) == state


def test_a_push_is_known_to_the_next_read_and_once_is_enough(feast: Path) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    before = online.read_items(["g", "a"], LATER)["item_n_events"]
    online.push([event("g", 20, value=4.0)], [7])
    state = online.read_user("u", LATER)
    assert state is not None
    assert (state.items, state.values[-1], state.n_ratings) == (("e", "a", "g"), 4.0, 5)
    assert list(online.read_items(["g", "a"], LATER)["item_n_events"]) == [before[0] + 1, before[1]]
    online.push([event("g", 20, value=4.0)], [7])
    online.push([event("f", 20), event("g", 20, value=4.0)], [6, 7])
    again = online.read_user("u", LATER)
    assert (again, again.features) == (state, state.features)
    # Another event that looks the same is another event.
    online.push([event("g", 20, value=4.0)], [8])
    twice = online.read_user("u", LATER)
    assert twice is not None
    assert twice.n_ratings == 6


def test_a_refresh_with_older_tables_leaves_a_newer_push_alone(clean: Path, feast: Path, tmp_path: Path) -> None:
    online = OnlineFeatures(feast, SETTINGS)
    online.push([event("g", 20), event("a", 9, user="v")], [1, 2])
    # v's newest event is of the same time as the push, so only the number of events tells which row knows more.
    refresh_features(clean, feast, FeatureSettings(max_history=3, n_affinities=1))
    states = [online.read_user(user) for user in "uv"]
    assert [state.items[-1] for state in states if state] == ["g", "f"]
    assert [state.features["n_events"] for state in states if state] == [8, 3]


def test_pushes_at_once_lose_nothing(feast: Path) -> None:
    onlines = [OnlineFeatures(feast, FeatureSettings(max_history=50)) for _ in range(2)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: onlines[n % 2].push([event(f"g{n}", 20 + n, user=f"x{n}")], [n + 1]), range(30)))
    assert list(onlines[0].read_items([f"g{n}" for n in range(30)])["item_n_events"]) == [1] * 30
    states = [onlines[1].read_user(f"x{n}") for n in range(30)]
    assert [state.items for state in states if state] == [(f"g{n}",) for n in range(30)]


def test_another_process_reads_and_pushes_while_this_one_refreshes(clean: Path, feast: Path) -> None:
    script = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from features.offline_store import with_columns
from features.online import OnlineFeatures
from recommender.settings import FeatureSettings
from recommender.user import Interaction
online = OnlineFeatures(Path(sys.argv[1]), FeatureSettings(max_history=100))
print("ready", flush=True)
for n in range(60):
    at = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=n)
    online.push([Interaction(f"p{n}", "x", f"p{n}", "view", at)], [n + 1])
    assert online.read_user("u") is not None
print(len(online.read_user("x").items))
"""
    other = subprocess.Popen([sys.executable, "-c", script, str(feast)], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    for max_history in (2, 3, 2, 3):
        refresh_features(clean, feast, FeatureSettings(max_history=max_history))
    assert other.communicate(timeout=120)[0] == "60\n"
    assert other.returncode == 0


def test_a_time_without_a_zone_is_refused(refreshed: Path) -> None:
    naive = Interaction("e", "u", "a", "view", datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(FeatureError, match="timestamp=2026-01-01T00:00:00, expected a time zone"):
        OnlineFeatures(refreshed, SETTINGS).push([naive], [1])


def test_rows_give_way_to_those_that_know_more_alone(feast: Path) -> None:
    store = open_store(feast)
    online = online_store_of(store)

    def write(n_views: int, newest: int, n_events: int, sequence: int) -> tuple[int, int]:
        row = StoredRow.of(USER_HISTORY, "z", {**new_user(), "n_views": n_views, "log_sequence": 0})
        row = replace(row, newest_us=newest, n_events=n_events, sequence=sequence)
        online.write_rows(store.config, USER_HISTORY, [row])
        (stored,) = online.read_rows(store.config, USER_HISTORY, ["z"])
        return stored.facts(USER_HISTORY)["n_views"], stored.sequence

    assert write(1, newest=5, n_events=2, sequence=3) == (1, 3)
    assert write(2, newest=4, n_events=9, sequence=0) == (1, 3)  # older
    assert write(3, newest=5, n_events=1, sequence=0) == (1, 3)  # as old, of fewer events
    assert write(4, newest=5, n_events=2, sequence=0) == (4, 3)  # the same events
    assert write(5, newest=1, n_events=1, sequence=3) == (5, 3)  # has seen all that was pushed


def test_feasts_own_push_and_materialise_write_the_same_rows(clean: Path, tmp_path: Path) -> None:
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    store = open_store(tmp_path / "feast")
    online = online_store_of(store)
    before = {
        view: online.read_rows(store.config, view, entities)
        for view, entities in ((USER_HISTORY, ["u", "v", "w"]), (ITEM_PROFILE, list("abcdefg")))
    }
    for path in (tmp_path / "feast").glob(f"{ONLINE_FILE}*"):
        path.unlink()
    store = open_store_again(tmp_path / "feast")
    store.materialize(START - timedelta(days=1), START + timedelta(days=1), feature_views=list(VIEWS))
    again = online_store_of(store)
    for view, rows in before.items():
        assert again.read_rows(store.config, view, [row.entity for row in rows]) == rows
    facts = {**before[USER_HISTORY][0].facts(USER_HISTORY), "n_views": 99, "n_events": 99}
    at = START + timedelta(days=9)
    frame = pd.DataFrame([{"user_id": "u", "timestamp": at, "event_timestamp": at, **facts}])
    store.push(USER_EVENTS, frame)
    assert again.read_rows(store.config, USER_HISTORY, ["u"])[0].facts(USER_HISTORY)["n_events"] == 99


def open_store_again(folder: Path) -> Any:
    """The store with tables of its own to write into."""
    from features.definitions import define_repository
    from features.store import create_store
    from recommender.settings import FeatureStoreSettings

    store = create_store(folder)
    store.apply(define_repository(folder, FeatureStoreSettings()))
    return store


def test_feasts_point_in_time_join_is_a_plain_recount(refreshed: Path) -> None:
    """All features, through Feast: every user and item, at and around every event."""
    store = open_store(refreshed)
    log = [
        Told(f"e{n}", e.user, e.item, e.event, START_US + round(e.at * SECOND), e.position, n, e.value)
        for n, e in enumerate(LOG)
    ]
    catalogue = {
        item["item_id"]: {name: item.get(name) for name in ("category", "brand", "price", "created_us")}
        for item in ITEMS
    }
    moments = [START + timedelta(seconds=second, microseconds=us) for second in range(-1, 11) for us in (-1, 0)]
    labels = [(user, item, at) for user in ("u", "v", "w", "nobody") for item in ("a", "c", "zz") for at in moments]
    frame = pd.DataFrame(labels, columns=["user_id", "item_id", "event_timestamp"])
    job = store.get_historical_features(frame, store.get_feature_service(PAIR_SCORER))
    n_seen = 0
    for page, facts in job.pages(100):
        us = page.column("event_timestamp").cast(TIME).cast(pa.int64()).to_numpy()
        derived = {**facts, **derive_user(facts, us, 3), **derive_item(facts, us, (1, 7, 30))}
        for n, row in enumerate(with_columns(page, derived_names(derived)).to_pylist()):
            expected = user_features(
                log, row["user_id"], int(us[n]), catalogue=catalogue, max_history=3, n_affinities=3
            )
            expected |= item_features(log, row["item_id"], int(us[n]), catalogue=catalogue, windows=(1, 7, 30))
            del expected["active_days"]
            different = {
                name: (row[f"_{name}"], value) for name, value in expected.items() if not same(row[f"_{name}"], value)
            }
            assert not different, (row["user_id"], row["item_id"], us[n])
            n_seen += 1
    assert n_seen == len(labels)


def derived_names(columns: dict[str, Any]) -> dict[str, Any]:
    return {f"_{name}": column for name, column in columns.items()}


def test_feast_has_the_fields_of_the_views_with_their_meanings(refreshed: Path) -> None:
    store = open_store(refreshed)
    assert {view.name for view in store.list_feature_views()} == set(VIEWS)
    for view, facts in FACTS.items():
        fields = {field.name: field.description for field in store.get_feature_view(view).schema}
        assert {name: fields[name] for name in facts} == {name: MEANINGS[name] for name in facts}
        assert store.get_feature_view(view).online
    assert [source.name for source in store.list_data_sources() if source.name == USER_EVENTS] == [USER_EVENTS]
    assert set(MEANINGS) == {name for facts in FACTS.values() for name in facts}
