"""The matrix factorisation without a table of users: against its own closed form, and on ratings made by factors."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recommender.errors import BundleError
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState
from recommender.scoring.factors import RatingFactors, Ratings, fit_factors

N_USERS, N_ITEMS = 150, 40
IDS = IdMap(tuple(f"i{number}" for number in range(N_ITEMS)))


def made_ratings(seed: int = 0) -> tuple[Ratings, Ratings]:
    """Two factors, a bias per item, noise of .3; of each user half the items. Ratings to learn from, and the rest."""
    random = np.random.default_rng(seed)
    users, items = random.normal(size=(N_USERS, 2)), random.normal(size=(N_ITEMS, 2)) * 0.7
    values = 3 + random.normal(size=N_ITEMS) * 0.3 + users @ items.T + random.normal(size=(N_USERS, N_ITEMS)) * 0.3
    known = random.random((N_USERS, N_ITEMS)) < 0.5

    def of(chosen: np.ndarray) -> Ratings:
        user, item = np.nonzero(chosen)
        return Ratings(torch.from_numpy(user), torch.from_numpy(item + 1), torch.from_numpy(values[chosen]))

    return of(known), of(~known)


def histories(ratings: Ratings) -> list[UserState]:
    entries: list[dict[str, float]] = [{} for _ in range(N_USERS)]
    for user, item, value in zip(
        *(part.tolist() for part in (ratings.users, ratings.items, ratings.values)), strict=True
    ):
        entries[user][IDS.item_id(item)] = value
    return [UserState(items=tuple(one), values=tuple(one.values())) for one in entries]


@pytest.fixture(scope="module")
def known() -> Ratings:
    return made_ratings()[0]


@pytest.fixture(scope="module")
def factors(known: Ratings) -> RatingFactors:
    return fit_factors(known, N_ITEMS, rank=6, n_steps=20, seed=1)


def test_it_finds_what_made_the_ratings(known: Ratings, factors: RatingFactors) -> None:
    hidden = made_ratings()[1]
    users = histories(known)
    said = factors.opinions([users[user] for user in hidden.users.tolist()], hidden.items.tolist(), IDS)[:, 0]
    truth = hidden.values.numpy()
    assert np.sqrt(np.mean((said - truth) ** 2)) < 0.4, "the noise alone is 0.3"
    assert np.std(truth) > 0.9
    assert factors.noise.sqrt() == pytest.approx(0.3, abs=0.05)


def test_factors_that_the_ratings_do_not_need_fade(factors: RatingFactors) -> None:
    sizes = factors.vectors[1:].square().mean(dim=0).sqrt().sort(descending=True).values
    assert sizes[1] > 0.3
    assert (sizes[4:] < 0.05).all(), "two made the ratings, and one may hold the users' means"


def test_a_history_is_answered_by_the_posterior_of_its_ratings(factors: RatingFactors) -> None:
    """The same as ridge regression of the ratings on the items, worked out here once more, item by item."""
    user = UserState(items=("i3", "gone", "i7", "i8"), values=(5.0, 1.0, None, 2.0), mean_rating=3.5, n_ratings=2)
    rated = [(IDS.index("i3"), 5.0), (IDS.index("i8"), 2.0)]
    precision, pull = torch.eye(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    for item, value in rated:
        q = factors.vectors[item]
        precision += (torch.outer(q, q) + torch.diag(factors.spreads[item])) / factors.noise
        pull += q * (value - factors.global_mean - factors.biases[item]) / factors.noise
    z = torch.linalg.solve(precision, pull)
    target = IDS.index("i20")
    q = factors.vectors[target]
    rating = factors.global_mean + factors.biases[target] + q @ z
    variance = q @ torch.linalg.inv(precision) @ q + (factors.spreads[target] * z**2).sum()
    np.testing.assert_allclose(
        factors.opinions([user], [target], IDS)[0], [float(rating), float(variance.sqrt())], rtol=1e-5
    )


def test_who_has_rated_nothing_gets_the_item_and_less_certainty(known: Ratings, factors: RatingFactors) -> None:
    stranger, expert = UserState(items=("i1",), values=(None,)), histories(known)[0]
    (nobody, somebody) = factors.opinions([stranger, expert], [5, 5], IDS)
    assert nobody[0] == pytest.approx(float(factors.global_mean + factors.biases[5]))
    assert nobody[1] > 2 * somebody[1]


def test_many_pairs_are_answered_as_each_alone(known: Ratings, factors: RatingFactors) -> None:
    users = histories(known)
    pairs = [(users[number % N_USERS], number % N_ITEMS + 1) for number in range(700)]
    together = factors.opinions([user for user, _ in pairs], [item for _, item in pairs], IDS)
    for place in (0, 255, 256, 699):
        user, item = pairs[place]
        np.testing.assert_allclose(factors.opinions([user], [item], IDS)[0], together[place], rtol=1e-5)
    assert factors.opinions([], [], IDS).shape == (0, 2)


@pytest.mark.parametrize("n_others", [0, 3])
def test_ratings_that_are_all_equal_are_foreseen_at_the_most_steps(n_others: int) -> None:
    generator, n, most = np.random.default_rng(0), 400, 200
    values = torch.full((n,), 5.0, dtype=torch.float64)
    values[:n_others] = 4.0
    users, items = (torch.from_numpy(generator.integers(low, low + size, n)) for low, size in ((0, 20), (1, 10)))
    factors = fit_factors(Ratings(users, items, values), n_items=10, rank=4, n_steps=most, seed=0)
    user = UserState(items=("i1",), values=(5.0,))
    (rating, *_), *_ = factors.opinions([user], [2], IdMap(tuple(f"i{number}" for number in range(1, 11))))
    assert rating == pytest.approx(5.0, abs=0.2 if n_others else 1e-3)


def test_an_item_without_ratings_is_like_the_others_on_average(known: Ratings) -> None:
    factors = fit_factors(known, N_ITEMS + 1, rank=3, n_steps=6, seed=1)
    assert factors.biases[-1] == 0
    torch.testing.assert_close(factors.vectors[-1], factors.vectors[1:-1].mean(dim=0))
    assert (factors.vectors[0] == 0).all()
    assert (factors.spreads[0] == 0).all()


def test_the_ratings_of_some_users_are_numbered_anew(known: Ratings) -> None:
    chosen = torch.arange(N_USERS) % 3 == 1
    some = known.of_users(chosen)
    assert some.users.unique().tolist() == list(range(50))
    assert len(some.values) == int(chosen[known.users].sum())
    assert some.values[some.users == 2].tolist() == known.values[known.users == 7].tolist()


def test_one_seed_gives_the_same_factors(known: Ratings, factors: RatingFactors) -> None:
    again = fit_factors(known, N_ITEMS, rank=6, n_steps=20, seed=1)
    assert torch.equal(again.vectors, factors.vectors)
    assert not torch.equal(fit_factors(known, N_ITEMS, rank=6, n_steps=20, seed=2).vectors, factors.vectors)


def test_saved_and_loaded_they_are_the_same(factors: RatingFactors, tmp_path: Path) -> None:
    factors.save(tmp_path)
    loaded = RatingFactors.load(tmp_path)
    assert torch.equal(loaded.vectors, factors.vectors)
    assert torch.equal(loaded.spreads, factors.spreads)
    (tmp_path / "factors.safetensors").write_bytes(b"nothing")
    with pytest.raises(BundleError, match=r"factors\.safetensors"):
        RatingFactors.load(tmp_path)
