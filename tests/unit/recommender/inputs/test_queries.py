import numpy as np
import pytest

from recommender.inputs.queries import (
    SCORES_PER_PASS,
    USERS_PER_PASS,
    Queries,
    sample_places,
    sample_queries,
    users_per_pass,
)
from recommender.inputs.user import UserState

N = 40


@pytest.fixture
def queries() -> Queries:
    """Every fourth user is without a history; query i wants item i."""
    users = tuple(UserState.from_history(["a"] if row % 4 else []) for row in range(N))
    return Queries(users, tuple((str(row),) for row in range(N)), tuple(f"u{row}" for row in range(N)))


def rows(queries: Queries) -> list[int]:
    return [int(wanted) for (wanted,) in queries.targets]


def test_few_queries_are_all_taken_and_no_draw_is_spent_on_them(queries: Queries):
    generator = np.random.default_rng(3)
    before = generator.bit_generator.state
    assert rows(sample_queries(queries, N, generator)) == list(range(N))
    assert generator.bit_generator.state == before


def test_many_are_sampled_without_doubles_in_their_order_and_by_the_seed(queries: Queries):
    taken = rows(sample_queries(queries, 12, seed=3))
    assert len(set(taken)) == 12
    assert taken == sorted(taken)
    assert taken == rows(sample_queries(queries, 12, seed=3))
    assert taken != rows(sample_queries(queries, 12, seed=4))
    chosen = sample_queries(queries, 12, seed=3)
    assert chosen.user_ids == tuple(f"u{row}" for row in taken)


def test_only_users_with_a_history_are_sampled_where_so_asked(queries: Queries):
    assert rows(sample_queries(queries, N, seed=3, warm_only=True)) == [row for row in range(N) if row % 4]
    taken = rows(sample_queries(queries, 12, seed=3, warm_only=True))
    assert len(taken) == 12
    assert all(row % 4 for row in taken)


def test_a_generator_goes_on_where_it_stands(queries: Queries):
    generator = np.random.default_rng(3)
    first, second = (rows(sample_queries(queries, 12, generator)) for _ in range(2))
    assert first == rows(sample_queries(queries, 12, seed=3))
    assert second != first


def test_places_keep_their_values():
    places = np.arange(100, 140)
    taken = sample_places(places, 5, seed=0)
    assert len(taken) == 5
    assert (np.diff(taken) > 0).all()
    assert np.isin(taken, places).all()
    np.testing.assert_array_equal(sample_places(places, 40, seed=0), places)


def test_passes_hold_all_of_them_in_their_order(queries: Queries):
    passes = list(queries.passes(100, most=15))
    assert [len(one) for one in passes] == [15, 15, 10]
    assert [row for one in passes for row in rows(one)] == list(range(N))
    assert not list(Queries((), ()).passes(100))


def test_of_a_larger_catalogue_fewer_users_are_asked_at_once(queries: Queries):
    assert users_per_pass(0) == users_per_pass(1) == users_per_pass(SCORES_PER_PASS // USERS_PER_PASS) == USERS_PER_PASS
    assert users_per_pass(SCORES_PER_PASS // 10) == 10
    assert users_per_pass(1_000_000) * 1_000_000 <= SCORES_PER_PASS
    assert users_per_pass(3 * SCORES_PER_PASS) == 1
    assert users_per_pass(SCORES_PER_PASS // 10, most=4) == 4
    assert [len(one) for one in queries.passes(SCORES_PER_PASS // 15)] == [15, 15, 10]
