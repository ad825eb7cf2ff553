"""Matrix factorisation that needs no table of users: who a user is follows from the ratings of the history.

rating of item i by user u = global mean + b_i + q_i . z_u + noise, z_u ~ N(0, 1), (b_i, q_i) ~ N(prior, 1 / weight).
Given the items, a user's z has a closed form, so an unknown or a live history is answered exactly as one of training.
How strongly each factor is held to its prior is learned with the rest: a factor that the shop does not need fades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from recommender.fitting.component import loading
from recommender.fitting.device import moved
from recommender.fitting.finiteness import finite_weights
from recommender.fitting.tensors import read_tensors, save_tensors
from recommender.inputs.ids import IdMap
from recommender.inputs.user import UserState

FACTORS_FILE = "factors.safetensors"
# Histories, or pairs, that are worked out at a time: so memory does not grow with them.
PAIRS_PER_PASS = 256


@dataclass(frozen=True)
class Ratings:
    """Who rated what how; one row per rating.

    Attributes:
        users: From 0. Shape (N,), int64.
        items: Item indices. Shape (N,), int64.
        values: Shape (N,), float64.
    """

    users: Tensor
    items: Tensor
    values: Tensor

    def of_users(self, chosen: Tensor) -> Ratings:
        """The ratings of some users, renumbered from 0.

        Args:
            chosen: Shape (n_users,), bool.
        """
        rows = chosen[self.users]
        return Ratings((chosen.cumsum(0) - 1)[self.users[rows]], self.items[rows], self.values[rows])


@dataclass(frozen=True)
class RatingFactors:
    """What the items are, learned by `fit_factors`. Row 0 is padding, an item without ratings has the prior.

    Attributes:
        global_mean: Shape (), float64.
        noise: Variance of a rating around what the factors say. Shape (), float64.
        biases: b. Shape (n_items + 1,), float64.
        vectors: q. Shape (n_items + 1, K), float64.
        spreads: Variance of each entry of q. Shape (n_items + 1, K), float64.
    """

    global_mean: Tensor
    noise: Tensor
    biases: Tensor
    vectors: Tensor
    spreads: Tensor

    def opinions(self, users: Sequence[UserState], items: Sequence[int], ids: IdMap) -> np.ndarray:
        """Expected rating of each pair and how sure it is, from the rated entries of the histories.

        Args:
            users: One per pair; the same object may stand for many pairs, and is folded in once then.
            items: Their indices, one per pair.
            ids: Entries of a history that it does not know are left out.
        Returns:
            Rating, and standard deviation of it due to user and item being uncertain. Shape (B, 2), float32.
        """
        found = np.zeros((len(users), 2), dtype=np.float32)
        distinct = {id(user): user for user in users}
        place = {identity: number for number, identity in enumerate(distinct)}
        histories = [_rated(user, ids) for user in distinct.values()]
        of_pair = torch.tensor([place[id(user)] for user in users], dtype=torch.int64)
        targets = torch.tensor(items, dtype=torch.int64)
        order = of_pair.argsort(stable=True)
        for start in range(0, len(histories), PAIRS_PER_PASS):
            some_histories = histories[start : start + PAIRS_PER_PASS]
            means, covariances = self._fold_in(some_histories)
            edges = torch.tensor([start, start + len(some_histories)])
            first, last = torch.searchsorted(of_pair[order], edges).tolist()
            for some in order[first:last].split(PAIRS_PER_PASS):
                user, item = of_pair[some] - start, targets[some]
                q, z, spread = self.vectors[item], means[user], covariances[user]
                ratings = self.global_mean + self.biases[item] + (q * z).sum(dim=1)
                variance = torch.einsum("bi,bij,bj->b", q, spread, q) + (self.spreads[item] * z**2).sum(dim=1)
                found[some.numpy()] = torch.stack([ratings, variance.clamp(min=0).sqrt()], dim=1).float().numpy()
        return found

    def _fold_in(self, histories: list[list[tuple[int, float]]]) -> tuple[Tensor, Tensor]:
        """Mean and covariance of z given histories. Shapes (U, K) and (U, K, K)."""
        longest = max((len(history) for history in histories), default=0)
        items = torch.zeros((len(histories), max(longest, 1)), dtype=torch.int64)
        values = torch.zeros(items.shape, dtype=torch.float64)
        for row, history in enumerate(histories):
            if history:
                items[row, : len(history)] = torch.tensor([item for item, _ in history])
                values[row, : len(history)] = torch.tensor([value for _, value in history], dtype=torch.float64)
        rated = (items != 0).double()
        residuals = (values - self.global_mean - self.biases[items]) * rated
        q = self.vectors[items]  # (U, T, K); padding is zeros
        spreads = (self.spreads[items] * rated.unsqueeze(2)).sum(dim=1)
        precision = q.transpose(1, 2) @ q + torch.diag_embed(spreads)
        pull = (residuals.unsqueeze(1) @ q).squeeze(1)
        return _posterior(precision / self.noise, pull / self.noise)

    def save(self, folder: Path) -> None:
        """Write the tensors into a folder that exists."""
        save_tensors(folder / FACTORS_FILE, self.tensors())

    def tensors(self) -> dict[str, Tensor]:
        """All of it, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def load(cls, folder: Path) -> RatingFactors:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing, unreadable or lacks a tensor.
        """
        expected = f"a readable {FACTORS_FILE}"
        with loading("pair scorer", got=f"folder={folder}", expected=expected, do="Fit the scorer again"):
            return cls(**read_tensors(folder / FACTORS_FILE))


def fit_factors(
    ratings: Ratings, n_items: int, rank: int, n_steps: int, seed: int, device: str = "cpu"
) -> RatingFactors:
    """Learn items from ratings by variational expectation maximisation, from a random start.

    Each step takes the users' posteriors given the items, then the items' given the users, then the noise, and from
    the fifth step on how far the entries of each factor lie from their prior (automatic relevance).

    Args:
        n_items: Of the catalogue, without padding.
        rank: K, factors at most.
        n_steps: Steps; more than 30 have brought nothing.
        device: Where they are learned; the factors come back on the CPU.
    Raises:
        NotFinite: the ratings lead nowhere.
    Source: Lim & Teh 2007, Variational Bayesian approach to movie rating prediction; relevance is Nakajima & Sugiyama
        2011.
    """
    ratings, n_users = moved(ratings, device), int(ratings.users.max()) + 1
    by_user, by_item = (
        _Bags.of(ratings.users, ratings.items, n_users),
        _Bags.of(ratings.items, ratings.users, n_items + 1),
    )
    mean = ratings.values.mean()
    deviations = ratings.values - mean
    seen = torch.bincount(ratings.items, minlength=n_items + 1) > 0
    state = moved(_Items.start(n_items, rank, seed), device)
    for step in range(n_steps):
        z, spread = state.users(by_user, deviations)
        state = state.items_given(z, spread, by_item, deviations, seen, learn_weights=step >= 4)
    known = seen.unsqueeze(1)
    factors = RatingFactors(
        global_mean=mean,
        noise=state.noise,
        biases=state.means[:, 0] * seen,
        vectors=torch.where(known, state.means[:, 1:], state.prior[1:]) * _not_padding(known).unsqueeze(1),
        spreads=torch.where(known, state.spreads[:, 1:], 1 / state.weights[1:]) * _not_padding(known).unsqueeze(1),
    )
    finite_weights("matrix factorisation", factors.tensors())
    return moved(factors, "cpu")


# Where all ratings are equal, each step would bring noise and variances closer to 0, until one over them is not finite.
# A thousandth of a star, squared; and what a factor that fades away keeps, all items together.
_LEAST_NOISE, _LEAST_VARIANCE = 1e-6, 1e-12


@dataclass(frozen=True)
class _Bags:
    """Ratings ordered by one side, to sum over the other side of each.

    Attributes:
        order: Rows of the ratings, those of one owner together. Shape (N,).
        others: The other side of each row, in that order. Shape (N,).
        offsets: Where each owner's rows begin. Shape (n_owners,).
    """

    order: Tensor
    others: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, owners: Tensor, others: Tensor, n_owners: int) -> _Bags:
        order = owners.argsort(stable=True)
        counts = torch.bincount(owners, minlength=n_owners)
        return cls(order, others[order], counts.cumsum(0) - counts)

    def sum(self, rows: Tensor, weights: Tensor | None = None) -> Tensor:
        """Per owner the sum of the others' rows, weighted by rating. Shape (n_owners, width)."""
        given = None if weights is None else weights[self.order]
        return F.embedding_bag(self.others, rows, self.offsets, mode="sum", per_sample_weights=given)


@dataclass(frozen=True)
class _Items:
    """What is believed of the items while fitting; column 0 is the bias, the rest q.

    Attributes:
        means: Shape (n_items + 1, 1 + K).
        spreads: Variances. Shape (n_items + 1, 1 + K).
        prior: Mean of an item's entries. Shape (1 + K,).
        weights: One over their variance around it. Shape (1 + K,).
        noise: Shape ().
    """

    means: Tensor
    spreads: Tensor
    prior: Tensor
    weights: Tensor
    noise: Tensor

    @classmethod
    def start(cls, n_items: int, rank: int, seed: int) -> _Items:
        """Small random factors; the first is the same for all items, which makes it the user's bias."""
        generator = torch.Generator().manual_seed(seed)
        means = 0.1 * torch.randn(n_items + 1, 1 + rank, generator=generator, dtype=torch.float64)
        means[:, 0], means[:, 1] = 0.0, 0.4
        weights = torch.full((1 + rank,), 100.0, dtype=torch.float64)
        weights[0] = 10.0
        prior = means.mean(dim=0)
        return cls(means, torch.zeros_like(means), prior, weights, torch.ones((), dtype=torch.float64))

    def users(self, by_user: _Bags, deviations: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior of every user. Shapes (n_users, K) and (n_users, K, K)."""
        q, bias = self.means[:, 1:], self.means[:, :1]
        precision = by_user.sum(_flat_squares(q, torch.diag_embed(self.spreads[:, 1:]))).view(-1, *2 * q.shape[1:])
        pull = by_user.sum(q, deviations) - by_user.sum(bias * q)
        return _posterior(precision / self.noise, pull / self.noise)

    def items_given(
        self, z: Tensor, spread: Tensor, by_item: _Bags, deviations: Tensor, seen: Tensor, *, learn_weights: bool
    ) -> _Items:
        """Posterior of every item, and what follows from it."""
        users = F.pad(z, (1, 0), value=1.0)  # (n_users, 1 + K)
        width = users.shape[1]
        squares = by_item.sum(_flat_squares(users, F.pad(spread, (1, 0, 1, 0)))).view(-1, width, width)
        pull = by_item.sum(users, deviations)
        covariances = torch.linalg.inv(squares / self.noise + torch.diag(self.weights))
        means = (covariances @ (pull / self.noise + self.weights * self.prior).unsqueeze(2)).squeeze(2)
        spreads = covariances.diagonal(dim1=1, dim2=2)
        expected = means.unsqueeze(2) * means.unsqueeze(1) + covariances
        noise = (deviations.square().sum() - 2 * (means * pull).sum() + (squares * expected).sum()) / len(deviations)
        noise = noise.clamp_min(_LEAST_NOISE)
        prior = means[seen].mean(dim=0)
        prior[0] = 0.0
        weights = self.weights
        if learn_weights:
            variances = ((means[seen] - prior).square() + spreads[seen]).sum(dim=0)
            weights = seen.sum() / variances.clamp_min(_LEAST_VARIANCE)
        return _Items(means, spreads, prior, weights, noise)


def _posterior(precision: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of z with a standard normal prior.

    Args:
        precision: Of the evidence. Shape (U, K, K).
        pull: Shape (U, K).
    """
    covariances = torch.linalg.inv(precision + torch.eye(pull.shape[1], dtype=pull.dtype, device=pull.device))
    return (covariances @ pull.unsqueeze(2)).squeeze(2), covariances


def _flat_squares(rows: Tensor, covariances: Tensor) -> Tensor:
    """E[x x^T] of each row. Shape (n, K * K)."""
    return (rows.unsqueeze(2) * rows.unsqueeze(1) + covariances).flatten(1)


def _not_padding(rows: Tensor) -> Tensor:
    return (torch.arange(len(rows), device=rows.device) > 0).double()


def _rated(user: UserState, ids: IdMap) -> list[tuple[int, float]]:
    """The rated entries of a history that the catalogue knows: index and rating."""
    entries = zip(user.items, user.values, strict=True)
    return [(ids.index(item), value) for item, value in entries if value is not None and item in ids]
