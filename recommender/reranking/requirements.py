"""What re-ranking asks of a catalogue: what it looks at has to be there, and a floor has to be within reach."""

from __future__ import annotations

from core.settings.reranking import RerankSettings
from recommender.errors import RerankError
from recommender.inputs.catalogue import Catalogue
from recommender.reranking.floor import places_of
from recommender.reranking.traits import ItemTraits


def check_traits(settings: RerankSettings, traits: ItemTraits) -> None:
    """Refuse what looks at something that no item has.

    Raises:
        RerankError: the catalogue lacks it.
    """
    looks: dict[str, bool] = {}
    if settings.kind == "calibration" or (settings.kind == "mmr" and settings.similarity == "category"):
        looks["a category"] = bool((traits.categories >= 0).any())
    if settings.kind == "mmr" and settings.similarity == "text":
        looks["words"] = bool(traits.has_words.any())
    if settings.provider_floor:
        looks["a brand"] = traits.n_providers > 0
    for what, is_there in looks.items():
        if not is_there:
            raise RerankError(
                "Cannot re-rank",
                got=f"items with {what}=0",
                expected=f"a catalogue whose items have {what}",
                do="Re-rank by something else, or map such a column of the items table and run the pipeline again",
            )


def check_rerankable(catalogue: Catalogue, settings: RerankSettings, k: int) -> None:
    """Refuse, before anything is fitted, a recipe's re-ranking that no list of this catalogue can meet.

    Args:
        catalogue: With the events up to the training cut-off.
        k: Length of the lists.
    Raises:
        RerankError: the catalogue lacks what is looked at, or has too few under-exposed items for a floor.
    """
    if settings.changes_nothing:
        return
    traits = ItemTraits.by(settings, catalogue)
    check_traits(settings, traits)
    k = min(k, len(catalogue))
    of_items, of_providers = places_of(settings.item_floor, k), places_of(settings.provider_floor, k)
    floors = (
        ("item_floor", settings.item_floor, of_items, traits.rare_items, "under-exposed items"),
        (
            "provider_floor",
            settings.provider_floor,
            of_providers,
            traits.rare_providers,
            "items of under-exposed brands",
        ),
    )
    for name, share, places, marked, what in floors:
        n_there = int(marked.sum())
        if places > n_there:
            raise _out_of_reach(
                f"recipe.rerank.{name}={share:g}, {places} of {k} places, and {n_there} {what} "
                f"of {len(catalogue)} items",
                f"at least {places} of them",
                f"Lower recipe.rerank.{name}, or raise recipe.rerank.under_exposed={settings.under_exposed:g}",
            )
    # An item that is rare, and of a rare brand, counts for both.
    both = min(int((traits.rare_items & traits.rare_providers).sum()), of_items, of_providers)
    if of_items + of_providers - both > k:
        raise _out_of_reach(
            f"recipe.rerank.item_floor={settings.item_floor:g} and provider_floor={settings.provider_floor:g}, "
            f"{of_items} and {of_providers} of {k} places, and {both} items that count for both",
            f"floors that fit into {k} places together",
            "Lower one of them, or raise recipe.rerank.under_exposed",
        )


def _out_of_reach(got: str, expected: str, do: str) -> RerankError:
    return RerankError("Cannot re-rank", got=got, expected=expected, do=do)
