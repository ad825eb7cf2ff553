"""Groups of users and of items, and what is measured in each."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core import schema
from recommender.evaluation.groups import (
    ACTIVITIES,
    activity_thirds,
    by_item_popularity,
    by_user_group,
    read_attributes,
)
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.ids import IdMap
from recommender.inputs.queries import Queries
from recommender.inputs.user import UserState
from recommender.metrics.ranking_evaluation import RankingEvaluation
from tests.unit.recommender.tiny_shop import catalogue_row

IDS = IdMap(tuple("abcdef"))


def evaluated(ndcg: list[float], lists: list[list[int]] | None = None) -> dict[str, RankingEvaluation]:
    made = np.array(lists or [[1]] * len(ndcg))
    return {"model": RankingEvaluation(1, {"ndcg": np.array(ndcg)}, made, np.zeros(made.shape, dtype=bool), 6)}


def test_activity_is_by_thirds_and_equal_lengths_share_one():
    lengths = np.array([0, 1, 1, 1, 1, 5, 9])
    low, middle, high = "least active third", "middle third", "most active third"
    assert activity_thirds(np.array([3, 1, 2])) == [high, low, middle]
    assert activity_thirds(lengths) == [None, *[middle] * 4, high, high]
    assert activity_thirds(np.zeros(2)) == [None, None]


def test_groups_of_users_are_told_with_the_gap_between_them():
    """Small groups and attributes that everybody shares say nothing."""
    queries = Queries((UserState.from_history(["a"]),) * 25, (("b",),) * 25)
    attributes = {
        "gender": ["F"] * 12 + ["M"] * 10 + [None] * 3,
        "city": ["x"] * 22 + ["y"] * 3,
    }
    table = by_user_group(evaluated([0.5] * 12 + [0.25] * 13), queries, IDS, attributes)
    assert set(table) == {"gender"}
    assert table["gender"]["groups"] == {"F": {"n_queries": 12, "model": 0.5}, "M": {"n_queries": 10, "model": 0.25}}
    assert table["gender"]["gap"] == {"model": 0.25}


def test_an_attribute_that_is_called_like_a_grouping_of_ours_stands_beside_it():
    histories = [UserState.from_history(list("abcdef")[: 1 + n // 10]) for n in range(60)]
    queries = Queries(tuple(histories), (("b",),) * 60)
    attributes = {"activity": ["sport", "rest"] * 30, "item popularity": ["few", "many"] * 30}
    table = by_user_group(evaluated([0.5, 0.25] * 30), queries, IDS, attributes)
    assert list(table) == ["activity", "activity (attribute)", "item popularity (attribute)"]
    assert set(table["activity"]["groups"]) <= set(ACTIVITIES)
    assert set(table["activity (attribute)"]["groups"]) == {"sport", "rest"}


def test_recall_is_by_the_popularity_of_what_was_wanted():
    rows = [catalogue_row(name, count) for name, count in zip("abcdef", [0, 1, 1, 2, 3, 5], strict=True)]
    table = pa.Table.from_pylist(rows, schema=schema.TRAINING_TABLES["catalogue"])
    catalogue = Catalogue(table, IDS)
    users = (UserState(),) * 3
    queries = Queries(users, (("a", "f"), ("b", "unknown"), ("c", "f")))
    found = by_item_popularity(evaluated([0, 0, 0], [[1, 6], [1, 6], [3, 2]]), queries, catalogue)
    assert found == {
        "never seen": {"n_targets": 1, "model": 1.0},
        "rare third": {"n_targets": 2, "model": 0.5},
        "popular third": {"n_targets": 2, "model": 0.5},
    }
    assert by_item_popularity(evaluated([0]), Queries(users[:1], (("unknown",),)), catalogue) == {}


@pytest.fixture
def users(tmp_path) -> Path:
    rows = [
        {"user_id": f"u{n}", "signup_at": None, "gender": "FM"[n % 2], "age": str(20 + n), "code": f"x{n}"}
        for n in range(30)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "users.parquet")
    return tmp_path / "users.parquet"


def test_attributes_are_those_that_part_users_into_a_few_groups(users):
    """Numbers are cut into thirds, words that few share are no groups, and the contract's columns no attributes."""
    asked = ("u29", "u1", "nobody", *(f"u{n}" for n in range(2, 20)))
    queries = Queries((UserState(),) * len(asked), (("a",),) * len(asked), asked)
    found = read_attributes(users, queries)
    assert set(found) == {"gender", "age"}
    assert found["gender"][:3] == ["M", "M", None]
    assert len(set(found["age"]) - {None}) == 3
    assert found["age"][0].startswith("over ")
    assert found["age"][1].startswith("up to ")


def test_of_many_words_those_that_enough_users_have_are_groups(tmp_path):
    jobs = ["cook"] * 12 + ["nurse"] * 10 + ["clerk"] * 9 + [f"job {n}" for n in range(20)]
    rows = [{"user_id": f"u{n}", "job": job} for n, job in enumerate(jobs)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "users.parquet")
    asked = tuple(f"u{n}" for n in range(len(jobs)))
    queries = Queries((UserState(),) * len(asked), (("a",),) * len(asked), asked)
    found = read_attributes(tmp_path / "users.parquet", queries)["job"]
    assert found == ["cook"] * 12 + ["nurse"] * 10 + [None] * 29


def test_without_a_users_table_there_are_no_attributes(tmp_path):
    assert read_attributes(tmp_path / "users.parquet", Queries((), ())) == {}
