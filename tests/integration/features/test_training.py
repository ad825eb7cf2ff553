"""Training sets through Feast, point in time."""

from __future__ import annotations

import itertools
import math
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core.schema import EVENTS, TRAINING_TABLES
from core.settings.evaluation import EvaluationSettings
from core.settings.features import FeatureSettings, SeenSettings
from features.errors import FeaturesOutdated
from features.refresh import refresh_features
from features.training import build_queries, build_training_set
from recommender.errors import TrainingDataError
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.rated_pairs import RatedPairs
from recommender.inputs.seen import item_key
from recommender.inputs.texts import tidy
from recommender.scoring.cross_encoder import pair_texts
from recommender.writing.examples import read_reviews
from tests.integration.features.shop import EVALUATION, ITEMS, LOG, REVIEWS, SETTINGS, USERS
from tests.unit.features.shops import (
    SECOND,
    START,
    START_US,
    Row,
    clocks,
    history_before,
    kinds_before,
    ratings_before,
    write_shop,
)


def test_the_catalogue_is_as_of_the_cut(training: dict[str, list[dict]]) -> None:
    catalogue = {row["item_id"]: row for row in training["catalogue"]}
    assert list(catalogue) == list("abcdefg")
    assert catalogue["a"]["item_text"] == "Anvil. Acme, Tools > Heavy"
    assert catalogue["a"]["price"] == 9.5
    assert (catalogue["a"]["item_n_events"], catalogue["a"]["item_mean_rating"]) == (2, 5.0)
    assert catalogue["b"]["item_text"] == "A bell"
    assert [catalogue[item]["item_attributes"] for item in "abc"] == [
        [("colour", "black")],
        [("colour", "brass"), ("in_stock", "0")],
        None,
    ]
    # The longest review comes first, and the one after the cut, longer still, is not read.
    assert catalogue["c"]["item_text"] == "a longer text about it. twang once again"
    assert (catalogue["c"]["item_n_ratings"], catalogue["c"]["item_mean_rating"]) == (2, 3.0)
    assert catalogue["e"]["item_text"] == ""
    assert (catalogue["e"]["item_n_events"], catalogue["e"]["item_mean_rating"]) == (0, None)


def test_what_others_did_at_the_same_instant_is_not_known(tmp_path: Path) -> None:
    """A shop with dates alone: a day is one instant, in which users rate several items each."""
    days = 86_400.0
    log = [Row(user, item, day * days, 5.0 - day % 3, "rating") for day in range(9) for user in "uvw" for item in "ab"]
    write_shop(tmp_path / "clean", log)
    refresh_features(tmp_path / "clean", tmp_path / "feast", SETTINGS)
    build_training_set(tmp_path / "clean", tmp_path / "feast", tmp_path / "training", SETTINGS, EVALUATION)
    rows = pq.read_table(tmp_path / "training" / "pairs.parquet").to_pylist()
    assert len(rows) == len(log)
    by_user = {user: [row for row in rows if row["user_id"] == user] for user in "uvw"}
    for user, known in by_user.items():
        assert [row["n_ratings"] for row in known] == list(range(18)), user  # their own, in their order
        # Of the item: what all said on the days before, and nothing of the day itself.
        assert [row["item_n_ratings"] for row in known] == [3 * day for day in range(9) for _ in "ab"], user


def test_an_items_own_columns_may_be_called_as_a_query_calls_its(tmp_path: Path) -> None:
    items = [{"item_id": item, "row_id": str(9 - n), "file_row_number": f"f{n}"} for n, item in enumerate("abc")]
    log = [Row("u", item, n) for n, item in enumerate("abcabcabca")]
    write_shop(tmp_path / "clean", log, items=items)
    refresh_features(tmp_path / "clean", tmp_path / "feast", SETTINGS)
    build_training_set(tmp_path / "clean", tmp_path / "feast", tmp_path / "training", SETTINGS, EVALUATION)
    catalogue = pq.read_table(tmp_path / "training" / "catalogue.parquet").to_pylist()
    assert [row["item_id"] for row in catalogue] == list("abc")
    expected = [[("file_row_number", f"f{n}"), ("row_id", str(9 - n))] for n in range(3)]
    assert [row["item_attributes"] for row in catalogue] == expected


def test_nobody_reads_their_own_review_in_an_items_text(training: dict[str, list[dict]]) -> None:
    by_pair = {(row["user_id"], row["item_id"], row["split"]): row["item_text"] for row in training["pairs"]}
    # c's text is made of the reviews of u and v. What w says of it comes after the cut, and stands in no text.
    assert by_pair["u", "c", "train"] == "a longer text about it"
    assert by_pair["v", "c", "train"] == "twang once again"
    assert by_pair["w", "c", "validation"] is None
    assert by_pair["u", "a", "train"] is None  # a has words of its own
    of_reviews = {(row["user_id"], row["item_id"]): row["item_text"] for row in training["reviews"]}
    assert (of_reviews["u", "c"], of_reviews["v", "c"]) == ("a longer text about it", "twang once again")
    assert of_reviews["w", "g"] == ""  # the only one to say anything of g
    assert (of_reviews["u", "e"], of_reviews["w", "c"], of_reviews["u", "a"]) == (None, None, None)


@settings(
    max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(st.lists(st.tuples(st.sampled_from("uvwx"), st.sampled_from("ab"), st.integers(0, 40)), min_size=4, max_size=14))
def test_a_review_is_in_no_input_of_its_own_row(said: list[tuple[str, str, int]]) -> None:
    # Everybody says a sentence of their own about items without a title; some say several of one item.
    log = [Row(user, item, n, float(n % 5 + 1), "rating") for n, (user, item, _) in enumerate(said)]
    log += [Row(user, "a", n + 0.5, event="purchase") for n, (user, _, _) in enumerate(said)]
    log += [Row("z", f"z{n}", 100 + n, 3.0, "rating") for n in range(8)]
    reviews = [
        (user, item, float(n), f"Planted {n} by {user} {'very ' * long}") for n, (user, item, long) in enumerate(said)
    ]
    with tempfile.TemporaryDirectory() as name:
        clean, feast, target = (Path(name) / part for part in ("clean", "feast", "training"))
        write_shop(clean, log, reviews=reviews)
        refresh_features(clean, feast, SETTINGS)
        build_training_set(clean, feast, target, SETTINGS, EvaluationSettings(test_from="PT4S", validation_from="PT3S"))
        catalogue = Catalogue.read(target, seed=1)
        pairs = RatedPairs.read(target, "train")
        written = read_reviews(target, "train", catalogue)
        rows = [row for row in pq.read_table(target / "reviews.parquet").to_pylist() if row["split"] == "train"]
    assert len(pairs) == len(written) == len(said)
    for user_id, user, item, text in zip(pairs.user_ids, pairs.users, pairs.item_ids, pairs.item_texts, strict=True):
        read = " ".join(pair_texts(user, item, catalogue, 4.0, text))
        own = [n for n, (who, what, _) in enumerate(said) if (who, what) == (user_id, item)]
        assert not any(f"Planted {n} by" in read for n in own)
        others = [n for n, (who, what, _) in enumerate(said) if who != user_id and what == item]
        assert not others or "Planted" in pair_texts(user, item, catalogue, 4.0, text)[1]
    for row, example in zip(rows, written, strict=True):
        assert example.text == tidy(row["text"])
        assert " ".join(example.text.split()[:3]) not in example.request.prompt


def test_sequences_hold_first_touches_behind_the_history_as_it_stood_then(training: dict[str, list[dict]]) -> None:
    # u touches a, b, c and d, in this order: a sequence of three is full, and d is read behind the newest half of it.
    # That u comes back to a, after d and before the cut, changes nothing of what came before.
    def row(user: str, country: str, items: list[str], values: list[float | None], seconds: list[int]) -> dict:
        history = {"history_items": items, "history_values": values, "history_events": ["view"] * len(items)}
        touched = {
            "n_context": len(items) - len(seconds),
            "target_times": [START_US + second * SECOND for second in seconds],
        }
        return {"user_id": user, **history, **touched, "attributes": f"country {country}"}

    assert training["sequences"] == [
        row("u", "FR", ["a", "b", "c"], [5.0, None, 2.0], [0, 1, 2]),
        row("u", "FR", ["c", "d"], [2.0, None], [4]),
        row("v", "NL", ["c"], [4.0], [3]),
    ]


def test_an_item_touched_again_stands_where_it_stood_at_each_target(tmp_path: Path) -> None:
    # u: a, b, a again with a rating, c, d, and long after c once more. v: all of the later windows.
    log = [Row("u", "a", 0), Row("u", "b", 1), Row("u", "a", 2, 2.0, "rating"), Row("u", "c", 3), Row("u", "d", 4)]
    log += [Row("u", "c", 5, 4.0, "rating"), *(Row("v", f"v{n}", 6 + n) for n in range(8))]
    write_shop(tmp_path / "clean", log)
    settings = FeatureSettings(max_history=10)
    refresh_features(tmp_path / "clean", tmp_path / "feast", settings)
    build_training_set(tmp_path / "clean", tmp_path / "feast", tmp_path / "training", settings, EVALUATION)
    rows = pq.read_table(tmp_path / "training" / "sequences.parquet").to_pylist()
    of_u = [(row["history_items"], row["history_values"], row["n_context"]) for row in rows if row["user_id"] == "u"]
    assert of_u == [
        (["a", "b"], [None, None], 0), (["b", "a", "c", "d"], [None, 2.0, None, None], 2),
    ]  # fmt: skip


def test_queries_hold_what_was_new_to_the_user_in_the_window(training: dict[str, list[dict]]) -> None:
    found = {(row["user_id"], row["split"]): row for row in training["queries"]}
    # u's event in the test window is on an item they knew.
    assert set(found) == {("u", "validation"), ("w", "validation"), ("w", "validation_late"), ("v", "test")}
    assert found["u", "validation"]["history_items"] == ["c", "d", "a"]
    assert found["u", "validation"]["targets"] == ["e"]
    assert (found["w", "validation"]["history_items"], found["w", "validation"]["targets"]) == ([], ["c"])
    assert (found["u", "validation"]["attributes"], found["w", "validation"]["attributes"]) == ("country FR", "")
    assert (found["v", "test"]["history_items"], found["v", "test"]["targets"]) == (["c"], ["f"])
    # u took e before the later half of the window, in which w took c.
    assert [found[who, "validation"]["n_early_targets"] for who in "uw"] == [1, 0]
    assert (found["w", "validation_late"]["targets"], found["v", "test"]["n_early_targets"]) == (["c"], None)


def test_queries_hold_what_was_seen_at_any_length_by_the_setting(tmp_path: Path) -> None:
    # u: twelve purchases, four times as many as a history holds, then a view. The cuts are at 20 and 25.
    log = [Row("u", f"p{n}", n, event="purchase") for n in range(12)] + [Row("u", "viewed", 13)]
    log += [Row("v", "x", n) for n in range(14, 20)] + [Row("u", "p3", 20), Row("u", "viewed", 21), Row("u", "new", 22)]
    log += [Row("v", f"y{n}", 23 + n) for n in range(7)]

    def query_of_u(seen: SeenSettings) -> dict:
        settings = FeatureSettings(max_history=3, seen=seen)
        place = tmp_path / f"{len(seen.events)} {seen.within_days}"
        feast, target = place / "feast", place / "training"
        write_shop(tmp_path / "clean", log)
        refresh_features(tmp_path / "clean", feast, settings)
        evaluation = EvaluationSettings(validation_share=0.2, test_share=0.2)
        summary = build_training_set(tmp_path / "clean", feast, target, settings, evaluation)
        assert datetime.fromisoformat(summary.validation_at) == START + timedelta(seconds=18)
        (row,) = [
            row
            for row in pq.read_table(target / "queries.parquet").to_pylist()
            if (row["user_id"], row["split"]) == ("u", "validation")
        ]
        assert row["history_items"] == ["p10", "p11", "viewed"]
        return row

    bought = [f"p{n}" for n in range(12)]
    row = query_of_u(SeenSettings())
    assert (row["targets"], row["seen_keys"]) == (["new"], sorted(map(item_key, [*bought, "viewed"])))
    row = query_of_u(SeenSettings(events=("purchase",)))
    assert (row["targets"], row["seen_keys"]) == (["viewed", "new"], sorted(map(item_key, bought)))
    row = query_of_u(SeenSettings(within_days=8 / 86_400))
    assert (row["targets"], row["seen_keys"]) == (["p3", "new"], sorted(map(item_key, ["p10", "p11", "viewed"])))


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
            event=st.sampled_from(["view", "purchase", "impression"]),
        ),
        min_size=15,
        max_size=50,
    ).filter(lambda log: len({event.at for event in log if event.event != "impression"}) >= 3),
    st.sampled_from([2, 3, 6]),
)
def test_the_training_set_is_what_a_plain_recomputation_says(log: list[Row], max_history: int) -> None:
    chosen = SETTINGS.model_copy(update={"max_history": max_history})
    with tempfile.TemporaryDirectory() as name:
        clean, feast, target = (Path(name) / part for part in ("clean", "feast", "training"))
        write_shop(clean, log)
        refresh_features(clean, feast, chosen)
        summary = build_training_set(clean, feast, target, chosen, EVALUATION)
        tables = {part: pq.read_table(target / f"{part}.parquet").to_pylist() for part in TRAINING_TABLES}
    rated = [(clock, e.user, e) for clock, e in clocks(log) if e.value is not None]
    assert len(tables["pairs"]) == len(rated)
    for row, (clock, user, rating) in zip(tables["pairs"], rated, strict=True):
        assert (row["user_id"], row["item_id"], row["rating"]) == (user, rating.item, rating.value)
        assert (row["history_items"], row["history_values"]) == history_before(log, user, clock, max_history)
        assert row["history_events"] == kinds_before(log, user, clock, max_history)
        assert row["n_ratings"] == len(ratings_before(log, clock, user=user))
        # What others did at the same instant is not known, whichever came first.
        instant = START_US + round(rating.at * SECOND)
        assert row["item_n_ratings"] == len(ratings_before(log, instant, item=rating.item))
    opens = {
        "validation": datetime.fromisoformat(summary.validation_at), "test": datetime.fromisoformat(summary.test_at),
    }  # fmt: skip
    closes = {"validation": opens["test"], "test": datetime.max.replace(tzinfo=UTC)}
    counted = [e for _, e in clocks(log)]
    late = later_half(counted, opens["validation"], opens["test"])
    if late is None:
        assert {row["n_early_targets"] for row in tables["queries"]} <= {None}
        assert {row["split"] for row in tables["items_then"]} == {"validation", "test"}
    else:
        opens["validation_late"], closes["validation_late"] = late, opens["test"]
    assert {row["split"] for row in tables["queries"]} <= set(opens)
    for split, opening in opens.items():
        us = round((opening - START).total_seconds() * 1e6) + START_US
        found = {row["user_id"]: row for row in tables["queries"] if row["split"] == split}
        for user in "uvw":
            known = {e.item for e in counted if e.user == user and e.timestamp < opening}
            new = {e.item for e in counted if e.user == user and opening <= e.timestamp < closes[split]} - known
            assert set(found[user]["targets"] if user in found else ()) == new
            if user in found:
                assert found[user]["seen_keys"] == sorted(map(item_key, known))
                assert len(found[user]["targets"]) == len(new)
                if split == "validation" and late is not None:
                    early = {e.item for e in counted if e.user == user and opening <= e.timestamp < late} - known
                    assert set(found[user]["targets"][: found[user]["n_early_targets"]]) == early
                history = found[user]["history_items"], found[user]["history_values"]
                assert history == history_before(log, user, us, max_history)
                assert found[user]["history_events"] == kinds_before(log, user, us, max_history)
    cut = round((opens["validation"] - START).total_seconds() * 1e6) + START_US
    for user in "uvw":
        touched = {e.item: clock for clock, e in reversed(clocks(log)) if e.user == user and clock < cut}
        rows = [row for row in tables["sequences"] if row["user_id"] == user]
        targets = [item for row in rows for item in row["history_items"][row["n_context"] :]]
        assert targets == sorted(touched, key=lambda item: touched[item])
        for row in rows:
            items, values, n_context = row["history_items"], row["history_values"], row["n_context"]
            assert n_context < len(items) == len(values) <= max_history
            assert row["target_times"] == [touched[item] for item in items[n_context:]]
            served_kinds = kinds_before(log, user, touched[items[n_context]], max_history)
            assert row["history_events"][:n_context] == served_kinds[len(served_kinds) - n_context :]
            assert row["history_events"][n_context:] == [
                kind_of_touch(log, user, item, cut) for item in items[n_context:]
            ]
            for place in range(n_context, len(items)):
                # What serving would have read just before the user touched this item for the first time.
                served, ratings = history_before(log, user, touched[items[place]], max_history)
                assert (items[:place], values[:place]) == (
                    served[len(served) - place :],
                    ratings[len(served) - place :],
                )
                assert place >= min(len(served), max_history // 2)


def later_half(counted: list[Row], opens: datetime, closes: datetime) -> datetime | None:
    """Where half of the first touches of a window have happened, with at least one instant before."""
    touches: dict[tuple[str, str], datetime] = {}
    for event in counted:
        if opens <= event.timestamp < closes:
            first = touches.setdefault((event.user, event.item), event.timestamp)
            touches[event.user, event.item] = min(first, event.timestamp)
    times = sorted(touches.values())
    median = times[(len(times) + 1) // 2 - 1]
    return min((time for time in times if time >= median and time > times[0]), default=None)


def test_a_window_of_one_instant_has_no_later_half(tmp_path: Path) -> None:
    log = [Row("u", f"i{n}", n) for n in range(8)]
    log += [Row(user, item, 20) for user in "uv" for item in ("x", "y")] + [Row("u", f"z{n}", 30 + n) for n in range(4)]
    write_shop(tmp_path / "clean", log)
    refresh_features(tmp_path / "clean", tmp_path / "feast", SETTINGS)
    windows = EvaluationSettings(validation_from=START + timedelta(seconds=20), test_from=START + timedelta(seconds=30))
    build_training_set(tmp_path / "clean", tmp_path / "feast", tmp_path / "training", SETTINGS, windows)
    rows = pq.read_table(tmp_path / "training" / "queries.parquet").to_pylist()
    assert [(row["user_id"], row["split"], sorted(row["targets"]), row["n_early_targets"]) for row in rows] == [
        ("u", "validation", ["x", "y"], None), ("v", "validation", ["x", "y"], None),
        ("u", "test", ["z0", "z1", "z2", "z3"], None),
    ]  # fmt: skip


def kind_of_touch(log: list[Row], user: str, item: str, cut: int) -> str:
    """The strongest kind of the user's first events on an item before the cut, up to one on another."""
    own = [e for clock, e in clocks(log) if e.user == user and clock < cut]
    touch = itertools.takewhile(lambda e: e.item == item, itertools.dropwhile(lambda e: e.item != item, own))
    return max((e.event for e in touch), key=EVENTS.index)


def test_a_training_set_of_other_settings_is_refused(clean: Path, refreshed: Path, tmp_path: Path) -> None:
    with pytest.raises(FeaturesOutdated, match=r"max_history=3, expected max_history=4 .*Refresh the features"):
        build_training_set(clean, refreshed, tmp_path / "t", FeatureSettings(max_history=4), EVALUATION)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize(
    ("newer", "is_rebuilt"),
    [([*LOG, Row("u", "g", 10, 4.0)], False), (LOG[1:], True)],
    ids=["an event came in", "an event is gone"],
)
def test_a_refresh_meanwhile_changes_no_byte_of_what_is_made_of_older_tables(
    clean: Path, feast: Path, tmp_path: Path, newer: list[Row], is_rebuilt: bool
) -> None:
    make_everything(clean, feast, tmp_path / "before")
    users = {**USERS, "w": {"country": None}}
    other = write_shop(tmp_path / "newer", newer, users=users, items=ITEMS, reviews=REVIEWS)
    assert refresh_features(other, feast, SETTINGS).rebuilt == is_rebuilt
    make_everything(clean, feast, tmp_path / "after")
    before = files_below(tmp_path / "before")
    assert len(before) == 2 * len(TRAINING_TABLES) + 2
    assert files_below(tmp_path / "after") == before
    make_everything(other, feast, tmp_path / "other")
    assert files_below(tmp_path / "other") != before


def make_everything(clean: Path, feast: Path, target: Path) -> None:
    """The training sets with and without windows, and the queries of a window of its own."""
    build_training_set(clean, feast, target / "windows", SETTINGS, EVALUATION)
    build_training_set(clean, feast, target / "everything", SETTINGS, None)
    build_queries(clean, feast, target / "queries", SETTINGS, START + timedelta(seconds=7))


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.parquet")}


def test_a_log_of_two_instants_cannot_be_split(tmp_path: Path) -> None:
    clean = write_shop(tmp_path / "clean", [Row("u", "a", 0), Row("u", "b", 1)])
    refresh_features(clean, tmp_path / "feast", SETTINGS)
    with pytest.raises(TrainingDataError, match="distinct_timestamps=2"):
        build_training_set(clean, tmp_path / "feast", tmp_path / "training", SETTINGS, EVALUATION)
