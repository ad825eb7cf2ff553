"""What every list sees to before it is made: how long it may be, and that what it names is there."""

from __future__ import annotations

from collections.abc import Collection

from recommender.inputs.ids import IdMap
from serving.errors import BadRequest, UnknownItem

_IDS_IN_A_SENTENCE = 10


def check_k(doing: str, k: int, max_k: int) -> None:
    """See that a list is not too long.

    Raises:
        BadRequest: it is.
    """
    if not 1 <= k <= max_k:
        raise BadRequest(f"Cannot {doing}", got=f"k={k}", expected=f"1 to {max_k}", do="Ask for fewer items")


def check_known(doing: str, field: str, item_ids: Collection[str], ids: IdMap, model: str) -> None:
    """See that the catalogue has the items that a request is about.

    Raises:
        UnknownItem: it lacks one.
    """
    unknown = ids.unknown(dict.fromkeys(item_ids))
    if unknown:
        shown = ", ".join(repr(item_id) for item_id in unknown[:_IDS_IN_A_SENTENCE])
        more = f" and {len(unknown) - _IDS_IN_A_SENTENCE} more" if len(unknown) > _IDS_IN_A_SENTENCE else ""
        raise UnknownItem(
            f"Cannot {doing}",
            got=f"{field}={shown}{more}",
            expected=f"items of the catalogue of {model}",
            do="Leave them out, or promote a model that knows them",
        )
