"""Reasons as answers have them: the text, and the facts that it says."""

from __future__ import annotations

from recommender.bundle.loading import Bundle
from recommender.explaining.explainer import Explainer, Reason
from recommender.explaining.written import supported_praise
from recommender.inputs.user import UserState
from serving.api.feedback import Feedback, GivenFact


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


def supported_praise_in(bundle: Bundle, answer: Feedback) -> tuple[int, int]:
    """How much of what a written review praises is supported, and how much it praises; none where a bundle cannot say.

    See `recommender.explaining.written`.
    """
    if bundle.explainer is None:
        return 0, 0
    return supported_praise(bundle.explainer.facts, answer.item_id, answer.text)


def given_facts(reason: Reason, n_chars: int) -> list[GivenFact]:
    """The facts of a reason, as data.

    Args:
        n_chars: Of the text so many characters are given; what is said behind them is not.
    """
    return [GivenFact(**one.as_data()) for one in reason.said_within(n_chars)]
