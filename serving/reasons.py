"""Reasons as answers have them: the text, and the facts that it says."""

from __future__ import annotations

from recommender.bundle.loading import Bundle
from recommender.explaining.explainer import Explainer, Reason
from recommender.inputs.user import UserState
from serving.api.feedback import GivenFact


def reason_for(
    bundle: Bundle, explainer: Explainer, user: UserState, item_id: str, seed: int, max_words: int | None = None
) -> Reason:
    """Why an item suits a user, by the bundle's own measure of which items of the history are most like it.

    Args:
        max_words: A second statement that would make the text longer is left out.
    Raises:
        UnknownItem: the item is not in the catalogue.
    """
    return explainer.explain(user, item_id, bundle.ranker.nearest_history, seed, max_words)


def given_facts(reason: Reason, n_chars: int) -> list[GivenFact]:
    """The facts of a reason, as data.

    Args:
        n_chars: Of the text so many characters are given; what is said behind them is not.
    """
    return [GivenFact(**one.as_data()) for one in reason.said_within(n_chars)]
