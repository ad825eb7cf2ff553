"""How one list is re-ranked: as the bundle's recipe says, or as the request asks."""

from __future__ import annotations

from core.settings.reranking import RerankSettings
from recommender.errors import RerankError
from recommender.reranking.reranker import Reranked, Reranker
from serving.api.recommend import AppliedDiversity, Diversity
from serving.errors import BadRequest, CapabilityMissing


def reranker_of(asked: Diversity | None, of_recipe: Reranker, model: str) -> Reranker:
    """The recipe's, changed by what a request asks for.

    Args:
        asked: None takes the recipe's as it is.
        model: The bundle, for the sentence of an error.
    Raises:
        BadRequest: what is asked for would change nothing, as the kind does not read it.
        CapabilityMissing: the catalogue lacks what it looks at.
    """
    if asked is None:
        return of_recipe
    given = asked.model_dump(exclude_none=True)
    settings = RerankSettings.model_validate({**of_recipe.settings.model_dump(), **given})
    _check_read(given, settings)
    try:
        return of_recipe.with_settings(settings)
    except RerankError as error:
        raise CapabilityMissing(
            error.failed, got=f"model={model}, {error.got}", expected=error.expected, do=error.do
        ) from error


def applied(settings: RerankSettings, found: Reranked) -> AppliedDiversity:
    """What an answer says of its re-ranking."""
    return AppliedDiversity(
        kind=settings.kind,
        strength=0.0 if settings.kind == "none" else settings.strength,
        item_floor=settings.item_floor,
        provider_floor=settings.provider_floor,
        n_changed=found.n_changed,
        floors_met=found.floors_met,
    )


def _check_read(given: dict[str, object], settings: RerankSettings) -> None:
    """A value that the kind does not read is a mistake: nothing would come of it.

    Raises:
        BadRequest: there is one.
    """
    kind = settings.kind
    readers = {"strength": ("mmr", "calibration"), "similarity": ("mmr",)}
    if not (settings.item_floor or settings.provider_floor):
        readers["pool"] = ("mmr", "calibration")
    for name, kinds in readers.items():
        if name in given and kind not in kinds:
            floors = ", or a floor" if name == "pool" else ""
            raise BadRequest(
                "Cannot re-rank",
                got=f"diversity.{name}={given[name]} with kind={kind}",
                expected=f"kind={' or '.join(kinds)}{floors}",
                do="Name the kind, or leave it out",
            )
