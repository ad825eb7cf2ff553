"""Answers of the bundle in service: of the running service, or of the bundle itself where none runs."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_items, print_json, print_rows, print_texts, show_aside

Count = Annotated[int, Parameter(name=("-k", "--k"), show_default=True, validator=Number(gte=1))]
Stars = Annotated[float, Parameter(validator=Number(gte=1, lte=5))]
Seed = Annotated[int, Parameter(validator=Number(gte=0, lt=2**31))]
Portion = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
Diversity = Literal["none", "mmr", "calibration"]
Task = Literal["review", "reason"]
Style = Literal["short", "medium", "long"]
Decoding = Literal["nucleus", "greedy", "beam"]
Words = Annotated[int, Parameter(validator=Number(gte=1, lte=200))]


def recommend(
    user: str | None = None,
    /,
    *,
    history: Annotated[list[str] | None, Parameter(consume_multiple=True, json_list=False)] = None,
    about: str = "",
    k: Count = 10,
    diversity: Diversity | None = None,
    strength: Portion | None = None,
    item_floor: Portion | None = None,
    provider_floor: Portion | None = None,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Recommend the k best items for a user, for a history, or for nobody in particular.

    Args:
        user: The shop's id of a user.
        history: Item ids, oldest first, of a visitor without an id.
        about: What is known of the user, in words.
        k: How many items.
        diversity: Re-rank the list: mmr (unlike one another), calibration (as the history's categories) or none.
        strength: How much that counts, 0 to 1.
        item_floor: Share of the list, at least, for items with few events.
        provider_floor: Share of the list, at least, for brands with few events.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.recommend import RecommendRequest

    asked = {"kind": diversity, "strength": strength, "item_floor": item_floor, "provider_floor": provider_floor}
    given = {name: value for name, value in asked.items() if value is not None} or None
    fields = {"user_id": user, "history": history, "about": about, "k": k, "diversity": given}
    request = read_request(RecommendRequest, fields)
    answer = connect(settings, show_aside).recommend(request)
    if as_json:
        print_json(answer.model_dump())
        return
    if answer.reason:
        show_aside(f"cold start: {answer.reason}")
    if answer.diversity:
        show_aside(f"re-ranked: {answer.diversity.n_changed} of the items are not in the model's own list")
        if not answer.diversity.floors_met:
            show_aside("too few such items are left for the floor")
    shown = ("item_id", "label", "score", "category", "part")
    rows = [{name: value for name, value in item.model_dump().items() if name in shown} for item in answer.items]
    print_rows([{**row, "score": f"{row['score']:.4f}"} for row in rows], as_json=False)


def score(
    user: str,
    items: Annotated[list[str], Parameter(json_list=False)],
    /,
    *,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Say how much a user would like certain items: the probability, and the rating from 1 to 5.

    Args:
        user: The shop's id of a user.
        items: Item ids.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.score import ScoreRequest

    request = read_request(ScoreRequest, {"user_id": user, "item_ids": items})
    answer = connect(settings, show_aside).score(request)
    if as_json:
        print_json(answer.model_dump())
        return
    if answer.reason:
        show_aside(f"cold start: {answer.reason}")
    print_rows(
        [
            {
                "item_id": item.item_id,
                "p_like": f"{item.p_like:.4f}",
                "rating": f"{item.rating:.2f}",
                "median_rating": f"{item.median_rating:g}",
            }
            for item in answer.items
        ],
        as_json=False,
    )


def feedback(
    user: str,
    items: Annotated[list[str], Parameter(json_list=False)],
    /,
    *,
    pair: Annotated[list[tuple[str, str]] | None, Parameter(json_list=False)] = None,
    task: Task = "review",
    rating: Stars | None = None,
    style: Style = "medium",
    max_words: Words | None = None,
    decoding: Decoding = "nucleus",
    seed: Seed | None = None,
    stream: bool = False,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Write the reviews that a user would give some items, or why the items suit them.

    Args:
        user: The shop's id of a user.
        items: Item ids.
        pair: A further user and item; give it again for more.
        task: review: what the user would write. reason: why the item suits.
        rating: Stars to write for, 1 to 5; without it, the rating that is predicted.
        style: short: one sentence. medium: some. long: as long as the writer goes on.
        max_words: The text ends with a sentence within so many words.
        decoding: How words are found: nucleus (drawn from the likeliest), greedy (the likeliest) or beam (of the
            likeliest whole texts).
        seed: Equal seeds give equal texts.
        stream: Print each sentence as soon as it is written; with --json, a line for each, and for each whole text.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.feedback import FeedbackRequest

    who = [*((user, item) for item in items), *(pair or ())]
    pairs = [{"user_id": each, "item_id": item, "rating": rating} for each, item in who]
    how = {"kind": task, "style": style, "max_words": max_words, "seed": seed, "decoding": decoding}
    request = read_request(FeedbackRequest, {**(pairs[0] if len(pairs) == 1 else {"pairs": pairs}), **how})
    messages = connect(settings, show_aside).stream_feedback(request)
    print_texts(messages, [" ".join(one) for one in who], stream, as_json)


def similar(item: str, /, *, k: Count = 10, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show the items that the model in service finds most similar to an item.

    Args:
        item: The item's id.
        k: How many items.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.lists import SimilarRequest

    answer = connect(settings, show_aside).similar(read_request(SimilarRequest, {"item_id": item, "k": k}))
    rows = [{"item_id": i.item_id, "label": i.label, "similarity": round(i.score, 4)} for i in answer.items]
    print_rows(rows, as_json)


def search(
    query: str,
    /,
    *,
    user: str | None = None,
    k: Count = 10,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Find items that a text speaks of, those first that a user would like.

    Args:
        query: What to search for.
        user: The shop's id of a user.
        k: How many items.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.lists import SearchRequest

    request = read_request(SearchRequest, {"query": query, "user_id": user, "k": k})
    print_items(connect(settings, show_aside).search(request), as_json)


def popular(
    *,
    days: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    user: str | None = None,
    k: Count = 10,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Show the items with the most events; the score is their number.

    Args:
        days: Of so many last days, one of recipe.features.windows_days; without it, of all time.
        user: The shop's id of a user, who has not seen them.
        k: How many items.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.lists import PopularRequest

    request = read_request(PopularRequest, {"days": days, "user_id": user, "k": k})
    print_items(connect(settings, show_aside).popular(request), as_json)


def latest(*, user: str | None = None, k: Count = 10, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show the newest items; the score is less their age in days.

    Args:
        user: The shop's id of a user, who has not seen them.
        k: How many items.
    """
    settings = chosen.enter()
    from serving.answering import connect, read_request
    from serving.api.lists import LatestRequest

    request = read_request(LatestRequest, {"user_id": user, "k": k})
    print_items(connect(settings, show_aside).latest(request), as_json)
