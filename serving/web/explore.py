"""GET /app/explore and GET /app/item: what somebody is recommended, why, and what the model knows of an item."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.events import RATING_EVENT
from core.settings.tree import Settings
from serving.api.feedback import FeedbackRequest
from serving.api.lists import SearchRequest, SimilarRequest
from serving.api.recommend import RecommendRequest
from serving.api.score import ScoreRequest
from serving.events.terms import EventTerms
from serving.guard.caller import current_caller
from serving.web.answers import Answer, ask, read
from serving.web.front import example_user
from serving.web.templates import render
from serving.web.view import WAYS, View

# What a model adds, for whoever does not know it by its name.
PARTS: Mapping[str, str] = {
    "sequence": "what comes next after this history",
    "neighbours": "goes together with items of the history",
    "item_knn": "chosen by customers of the same items",
    "text": "its text is like that of items of the history",
    "popularity": "popular, of all time or of late",
    "profile": "chosen by similar users",
    "generative": "generated code by code from the history",
}
_WORDS: Mapping[str, str] = {"click": "Click", "purchase": "Buy"}
# What is written on a press: its kind, the button's word, and what the bundle needs for it.
_TEXTS = (("reason", "Why?", "reasons"), ("review", "Review they would write", "feedback"))
_N_SIMILAR, _STARS = 8, 5
_NOBODY = Answer({})


async def show_explore(service: Any, settings: Settings, view: View) -> tuple[str, int]:
    """The page of a user, or of nobody in particular, as HTML, and its HTTP status."""
    user = await read(service.user_record, view.user_id) if view.user_id else _NOBODY
    if view.query:
        fields = {"query": view.query, "k": view.k, "user_id": view.user_id, "history": list(view.history)}
        found = await ask(service.search, SearchRequest, **fields, **view.rules, preview=True)
    else:
        fields = {**view.who, "by": view.by, "k": view.k, "preview": True}
        found = await ask(service.recommend, RecommendRequest, **fields, **view.rules)
    known = user.body.get("history", []) if user else []
    labels = {one["item_id"]: one["label"] for one in known if one["label"]}
    labels.update({one["item_id"]: one["label"] for one in found.body.get("items", [])})
    for item_id in {*view.history, *view.pin, *view.boost, *view.bury} - set(labels):
        item = await read(service.item_record, item_id)
        labels[item_id] = item.body.get("label", item_id)
    status = found.status if not found else 200
    can = service.capabilities
    may_send, terms = current_caller().may("events"), service.event_terms
    return render(
        settings,
        "explore.html.j2",
        "explore",
        view=view,
        user=user,
        found=found,
        history=list(reversed(known)),
        labels=labels,
        part_words=PARTS,
        ways=[way for way in WAYS if way != "generative" or can.get("recommend_generative") or view.by == way],
        texts=[(kind, word) for kind, word, needed in _TEXTS if can.get(needed)],
        example=example_user(settings),
        buttons=_buttons(terms) if may_send else [],
        ratings=_ratings(terms) if may_send else [],
        may_send=may_send,
    ), status


def _buttons(terms: EventTerms) -> list[tuple[str, str]]:
    """What can be told by a button: the event, and its word."""
    return [(event, word) for event, word in _WORDS.items() if _means_itself(terms, event)]


def _ratings(terms: EventTerms) -> list[tuple[int, float]]:
    """One to five stars, and what each is on the shop's own scale, which events are told in."""
    if not _means_itself(terms, RATING_EVENT):
        return []
    low, high = terms.scale
    return [(stars, low + (stars - 1) * (high - low) / (_STARS - 1)) for stars in range(1, _STARS + 1)]


def _means_itself(terms: EventTerms, event: str) -> bool:
    """Whether the shop's settings take an event by its name for what it is: they may leave it out, or take it for
    another.
    """
    return terms.kind(event, event) == event


async def show_item(service: Any, settings: Settings, view: View, item_id: str) -> tuple[str, int]:
    """The page of an item, for the user of the view, as HTML, and its HTTP status."""
    item = await read(service.item_record, item_id)
    similar = score = reason = _NOBODY
    if item:
        similar = await ask(service.similar, SimilarRequest, item_id=item_id, k=_N_SIMILAR, preview=True)
        score = await ask(service.score, ScoreRequest, **view.who, item_ids=[item_id])
        reason = await ask(service.feedback, FeedbackRequest, **view.who, item_id=item_id, kind="reason")
    return render(
        settings,
        "item.html.j2",
        "item",
        view=view,
        item_id=item_id,
        item=item,
        similar=similar,
        score=score,
        reason=reason,
        writes=service.capabilities.get("feedback", False),
    ), item.status
