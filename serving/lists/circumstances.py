"""Who a list is for, at which moment, after which items of a session, and what counts as seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from core import schema
from core.settings.features import FeatureSettings
from core.timing.clock import CLOCK
from recommender.bundle.loading import Bundle
from recommender.inputs.seen import SeenItems, item_key, item_keys
from recommender.inputs.user import UserState
from serving.api.options import Context, SeenRule
from serving.api.recommend import RecommendRequest
from serving.errors import BadRequest, CapabilityMissing
from serving.online.reads import FeatureReader
from serving.visitor import Visitor, identify

# Clocks differ; beyond that a moment of the past would be answered with what is known only since.
_EARLIER = timedelta(minutes=5)
_LATER = timedelta(days=366)
_NOW = Context()


def visitor_of(request: RecommendRequest, features: FeatureReader, bundle: Bundle, model: str) -> Visitor:
    """Who is asking, in the circumstances of the request.

    Args:
        request: Of one user.
        model: The bundle, for the sentences of errors.
    Raises:
        BadRequest: the moment is past, or what is to count as seen cannot be told of this user.
        CapabilityMissing: nothing that the answer reads changes with the moment.
    """
    context, settings = request.context or _NOW, bundle.manifest.recipe.features
    if context.time is not None:
        _check_moment(context.time, request, bundle, model)
    if request.seen is not None:
        _check_seen(request.seen, request.user_id, settings)
    visitor = identify(request, features, bundle, context.items, context.time)
    if request.seen is None or request.user_id is None:
        return visitor
    session = [item_id for item_id in context.items if item_id in bundle.catalogue.ids]
    within_days = request.seen.within_days
    base = visitor.state.seen
    if within_days is not None:
        base = visitor.reads.read_seen(request.user_id, within_days, context.time)
    seen = _counting(visitor.state, base or SeenItems(), request.seen, session, model)
    return replace(visitor, state=replace(visitor.state, seen=seen))


def _counting(user: UserState, base: SeenItems, rule: SeenRule, session: list[str], model: str) -> SeenItems:
    """What counts as seen, of what the online store says was seen: without items that only weaker events are on."""
    weak: set[int] = set()
    if rule.at_least is not None:
        if len(user.events) != len(user.items):
            raise CapabilityMissing(
                "Cannot tell seen items by the kind of event",
                got=f"model={model}, and an online store that keeps no kinds of this user's events",
                expected="a history with the kind of each entry",
                do="Leave seen.at_least out, or refresh the features",
            )
        least = schema.EVENTS.index(rule.at_least)
        own = zip(user.items, user.events, strict=True)
        weak = {item_key(item_id) for item_id, kind in own if schema.EVENTS.index(kind) < least}
    kept = [key for key in base.keys.tolist() if key not in weak]
    return SeenItems.of_keys([*kept, *item_keys(session).tolist()])


def _check_seen(rule: SeenRule, user_id: str | None, settings: FeatureSettings) -> None:
    if user_id is None:
        raise BadRequest(
            "Cannot tell what counts as seen",
            got="seen, without a user_id",
            expected="a known user: of the items of a bare history neither kind nor age is known",
            do="Give a user_id, or leave out in exclude what should not come back",
        )
    if rule.at_least is None:
        return
    stronger = schema.EVENTS[schema.EVENTS.index(rule.at_least) :]
    if not set(stronger) <= set(settings.seen_events):
        raise BadRequest(
            "Cannot tell what counts as seen",
            got=f"seen.at_least={rule.at_least}",
            expected=f"a kind from which on every kind is one of {', '.join(settings.seen_events)}, which make an item "
            "seen in this bundle",
            do="Ask for a stronger kind, or set recipe.features.seen.events and run the pipeline again",
        )


def _check_moment(moment: datetime, request: RecommendRequest, bundle: Bundle, model: str) -> None:
    if not CLOCK.earliest() - _EARLIER <= moment <= CLOCK.latest() + _LATER:
        raise BadRequest(
            "Cannot answer for this moment",
            got=f"context.time={moment.isoformat()}",
            expected=f"now or later, within {_LATER.days} days: the online store has its features as of now",
            do="Leave the time out, or give a later one",
        )
    days = bundle.manifest.recipe.features.seen.within_days if request.seen is None else request.seen.within_days
    forgets = request.user_id is not None and request.exclude_seen and days is not None
    if not forgets and not (request.by == "blend" and bundle.ranker.reads_items_then):
        raise CapabilityMissing(
            "Cannot answer for another moment",
            got=f"model={model}, which reads nothing that changes with the time for this request",
            expected="a blend with recent popularity or a correction, or seen items that come back after some days",
            do="Leave context.time out",
        )
