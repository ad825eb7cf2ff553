"""`sommelier forget`: removal at once in this process, whatever runs; then the `forget` deployment trains without them.

The deployment is not told the id, so that no server keeps it.
"""

from __future__ import annotations

from collections.abc import Callable

from core.layout import Layout
from core.settings.tree import Recipe, Settings
from flows.environment import enter_environment
from flows.erasure.completion import finish_erasures
from flows.erasure.receipts import Receipt, read_receipts
from flows.erasure.removal import remove_person
from flows.errors import ErasureUnfinished
from flows.params import ForgetParams
from flows.platform.single_run import run_once
from flows.pruning import saying_full


def forget_user(
    settings: Settings, user_id: str, show: Callable[[str], None], *, retrain: bool = True, own_recipe: bool = False
) -> Receipt:
    """Remove all there is of a person, and replace the bundles that learned from them.

    Args:
        settings: Say which shop, in which work folder.
        user_id: However it is written.
        show: Called with each line of progress; none has the id.
        retrain: Whether to train at once what has to be trained; otherwise the next run of the pipeline does.
        own_recipe: Whether to train by the settings' recipe; otherwise by the one that the shop was last served with.
    Raises:
        TombstoneError: the id is none.
        DiskFull: there is no room; the tombstone may stand already, and the same command goes on.
        ErasureUnfinished: something of the person could not be removed; the receipt says where.
        PortTaken, ShopTaken, PartFailed, RunFailed: the training could not start, or failed; the receipt stays open.
    """
    settings = settings.model_copy(update={"work_dir": settings.work_dir.absolute()})
    enter_environment(settings)
    layout = Layout(settings.work_dir, settings.shop)
    with saying_full(layout.root):
        receipt = remove_person(layout, settings.feature_store, user_id, show)
    if receipt.search is not None and receipt.search.left:
        raise ErasureUnfinished(
            "Cannot remove everything",
            got=f"left={', '.join(receipt.search.left)}",
            expected="nothing that names the person",
            where=f"receipt {receipt.number}",
            do="Remove or move these by hand, and run the command again; the tombstone stands, nothing new is taken in",
        )
    with saying_full(layout.root):
        finish_erasures(layout)
    receipt = _read(layout, receipt.number)
    if receipt.is_open and retrain:
        if not own_recipe and layout.recipe.is_file():
            recipe = Recipe.model_validate_json(layout.recipe.read_text(encoding="utf-8"))
            settings = settings.model_copy(update={"recipe": recipe})
        params = ForgetParams(shop=settings.shop, recipe=settings.recipe)
        run_once(settings, "forget", {"params": params.model_dump(mode="json")}, show, "training without the person")
        receipt = _read(layout, receipt.number)
    return receipt


def _read(layout: Layout, number: int) -> Receipt:
    return next(receipt for receipt in read_receipts(layout) if receipt.number == number)
