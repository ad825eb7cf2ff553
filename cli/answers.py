"""Answers of the bundle in service: of the running service, or of the bundle itself where none runs."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show, show_aside

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
    from serving.api.recommend import RecommendRequest
    from serving.client import connect, read_request

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
    from serving.api.score import ScoreRequest
    from serving.client import connect, read_request

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
    item: str,
    /,
    *,
    task: Task = "review",
    rating: Stars | None = None,
    style: Style = "medium",
    max_words: Words | None = None,
    decoding: Decoding = "nucleus",
    seed: Seed | None = None,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Write the review that a user would give an item, or why the item suits them.

    Args:
        user: The shop's id of a user.
        item: The item's id.
        task: review: what the user would write. reason: why the item suits.
        rating: Stars to write for, 1 to 5; without it, the rating that is predicted.
        style: short: one sentence. medium: some. long: as long as the writer goes on.
        max_words: The text ends with a sentence within so many words.
        decoding: How words are found: nucleus (drawn from the likeliest), greedy (the likeliest) or beam (of the
            likeliest whole texts).
        seed: Equal seeds give equal texts.
    """
    settings = chosen.enter()
    from serving.api.feedback import FeedbackRequest
    from serving.client import connect, read_request

    asked = {"kind": task, "rating": rating, "style": style, "max_words": max_words, "seed": seed}
    fields = {"user_id": user, "item_id": item, "decoding": decoding, **asked}
    request = read_request(FeedbackRequest, fields)
    answer = connect(settings, show_aside).feedback(request)
    if as_json:
        print_json(answer.model_dump())
    else:
        show(answer.text)


def similar(item: str, /, *, k: Count = 10, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show the items that the model in service finds most similar to an item; loads the bundle.

    Args:
        item: The item's id.
        k: How many items.
    """
    settings = chosen.enter()
    from serving.client import load_engine

    engine = load_engine(settings)
    rows = [
        {"item_id": found, "label": engine.bundle.catalogue.label(found), "similarity": round(similarity, 4)}
        for found, similarity in engine.similar(item, k)
    ]
    print_rows(rows, as_json)
