"""Which facts matter to a user: a logistic regression over what is known of each candidate statement.

Two questions teach it, in the log-odds of two regressions that share nothing but their form:

- of what a review can speak of (an aspect, an attribute, the price): whether the user's own later review did;
- of what only behaviour can tell (what customers chose together, ratings, popularity): whether the item is one that
  the user chose, or one drawn by its popularity in its place.

A statement's relevance is its log-odds less those of the average statement of its sort, so the two sorts compare: 0 is
as relevant as any, 1 is 2.7 times the odds. Where a shop has too few reviews, the second question teaches all kinds.

Source: the labels of the first sort are those of explanation ranking by what reviews mention (Li, Zhang & Chen 2021,
EXTRA; Wang, Chen & Zhang 2018); drawing negatives by popularity is that of Mikolov et al. 2013.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.storage import write_json
from recommender.explaining.facts import KINDS, N_FEATURES, Candidate
from recommender.fitting.component import loading, read_config

RELEVANCE_FILE = "relevance.json"
# Strengths of the regression that are tried, the most cautious first.
STRENGTHS = (0.01, 0.1, 1.0, 10.0)


@dataclass(frozen=True)
class Example:
    """A candidate statement, and whether it mattered.

    Attributes:
        is_spoken: Whether a review says so; else behaviour does.
    """

    candidate: Candidate
    matters: bool
    is_spoken: bool


@dataclass(frozen=True)
class Relevance:
    """Weights of the features of each kind of fact.

    Attributes:
        weights: Shape (len(KINDS), N_FEATURES), float64.
        averages: Log-odds of the average statement of each kind's sort. Shape (len(KINDS),), float64.
    """

    weights: np.ndarray
    averages: np.ndarray

    def score(self, candidates: Sequence[Candidate]) -> np.ndarray:
        """The relevance of each. Shape (N,), float64."""
        kinds = np.array([KINDS.index(one.fact.kind) for one in candidates], dtype=np.int64)
        features = np.array([one.features for one in candidates], dtype=np.float64).reshape(-1, N_FEATURES)
        scores: np.ndarray = (self.weights[kinds] * features).sum(axis=1) - self.averages[kinds]
        return scores

    def save(self, folder: Path) -> None:
        """Write the weights by kind into a folder that exists."""
        by_kind = {
            kind: {"weights": row.tolist(), "average": float(average)}
            for kind, row, average in zip(KINDS, self.weights, self.averages, strict=True)
        }
        write_json(folder / RELEVANCE_FILE, by_kind)

    @classmethod
    def load(cls, folder: Path) -> Relevance:
        """Read what `save` wrote.

        Raises:
            BundleError: the file is missing or damaged, or lacks a kind.
        """
        with loading("relevance of reasons", got=f"folder={folder}", expected=f"{RELEVANCE_FILE} of every kind"):
            config = read_config(folder / RELEVANCE_FILE)
            weights = np.array([config[kind]["weights"] for kind in KINDS], dtype=np.float64)
            averages = np.array([config[kind]["average"] for kind in KINDS], dtype=np.float64)
            if weights.shape != (len(KINDS), N_FEATURES) or averages.shape != (len(KINDS),):
                raise ValueError(f"its weights have the shape {weights.shape}")
        return cls(weights, averages)


def learn(examples: Sequence[Example], strength: float) -> Relevance:
    """Fit both regressions; a kind without examples gets the average of its sort.

    Args:
        strength: The inverse of the ridge, as scikit-learn's C.
    """
    from sklearn.linear_model import LogisticRegression

    weights, averages = np.zeros((len(KINDS), N_FEATURES)), np.zeros(len(KINDS))
    for is_spoken in (True, False):
        own = [one for one in examples if one.is_spoken == is_spoken]
        labels = np.array([one.matters for one in own])
        if len(own) == 0 or labels.all() or not labels.any():
            continue
        fitted = LogisticRegression(C=strength, max_iter=1000, fit_intercept=False).fit(_matrix(own), labels)
        kinds = sorted({KINDS.index(one.candidate.fact.kind) for one in own})
        weights[kinds] = fitted.coef_.reshape(len(KINDS), N_FEATURES)[kinds]
        averages[kinds] = math.log(labels.mean() / (1 - labels.mean()))
    return Relevance(weights, averages)


def log_loss(relevance: Relevance, examples: Sequence[Example]) -> float:
    """Mean -log P(what was), over the mean of both sorts; lower is better. 0 without examples."""
    losses = []
    for is_spoken in (True, False):
        own = [one for one in examples if one.is_spoken == is_spoken]
        if own:
            odds, labels = _log_odds(relevance, own), np.array([one.matters for one in own])
            losses.append(float(np.logaddexp(0.0, np.where(labels, -odds, odds)).mean()))
    return float(np.mean(losses)) if losses else 0.0


def area_under_curve(relevance: Relevance, examples: Sequence[Example], is_spoken: bool) -> float | None:
    """Of one sort, how often what mattered is scored above what did not; None where either is missing."""
    from sklearn.metrics import roc_auc_score

    own = [one for one in examples if one.is_spoken == is_spoken]
    labels = np.array([one.matters for one in own])
    if len(own) == 0 or labels.all() or not labels.any():
        return None
    return float(roc_auc_score(labels, _log_odds(relevance, own)))


def _log_odds(relevance: Relevance, examples: Sequence[Example]) -> np.ndarray:
    candidates = [one.candidate for one in examples]
    kinds = [KINDS.index(one.fact.kind) for one in candidates]
    odds: np.ndarray = relevance.score(candidates) + relevance.averages[kinds]
    return odds


def _matrix(examples: Sequence[Example]) -> np.ndarray:
    """The features of each in the columns of its kind. Shape (N, len(KINDS) * N_FEATURES), float64."""
    rows = np.zeros((len(examples), len(KINDS), N_FEATURES))
    kinds = [KINDS.index(one.candidate.fact.kind) for one in examples]
    rows[np.arange(len(examples)), kinds] = [one.candidate.features for one in examples]
    return rows.reshape(len(examples), -1)
