"""People who want to be forgotten: remove what there is of them, and look at the receipts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show, show_aside
from core.errors import WrongUsage

if TYPE_CHECKING:
    from core.layout import Layout
    from flows.erasure.receipts import Receipt


def forget(
    user: str = "",
    /,
    *,
    lift: bool = False,
    dry_run: bool = False,
    no_retrain: bool = False,
    listed: Annotated[bool, Parameter(name="--list")] = False,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Remove a user from everything, for good, and replace the bundles that learned from them.

    Nothing has to run. What a source, a client or a readmission brings of the user later is left out. The receipt says
    what was removed where, and has no id. A command that was stopped goes on when it is given again.

    Args:
        user: The shop's id of the user.
        lift: Take the user in again from now on; what was removed stays removed.
        dry_run: Say where the user's data are and which bundles learned from them, and change nothing.
        no_retrain: Leave the training to the next run of the pipeline.
        listed: Show the receipts of the shop.
    """
    _check(user, {"--list": listed, "--lift": lift, "--dry-run": dry_run, "--no-retrain": no_retrain})
    settings = chosen.enter()
    from core.layout import Layout

    layout = Layout(settings.work_dir, settings.shop)
    if listed:
        _list(layout, as_json)
        return
    from core.logs.audit import audited
    from flows.erasure.removal import preview, take_back
    from flows.platform.forget import forget_user

    # The record has the number of the receipt, and nothing of the person.
    if lift:
        with audited(layout.audit, "forget --lift") as details:
            receipt = take_back(layout, user)
            details["receipt"] = str(receipt.number)
        _print(receipt, as_json)
    elif dry_run:
        _preview(preview(layout, user), as_json)
    else:
        own = chosen.settings or chosen.source or chosen.data
        is_own = bool(own) or any(override.startswith("recipe.") for override in chosen.overrides)
        progress = show_aside if as_json else show
        with audited(layout.audit, "forget") as details:
            receipt = forget_user(settings, user, progress, retrain=not no_retrain, own_recipe=is_own)
            details["receipt"] = str(receipt.number)
        _print(receipt, as_json)


def _check(user: str, asked: Mapping[str, bool]) -> None:
    """See that what is asked for fits together: an option that is passed over may be the one that was meant.

    Raises:
        WrongUsage: it does not.
    """
    options = [name for name, is_given in asked.items() if is_given]
    if len(options) > 1:
        raise WrongUsage(
            "Cannot forget", got=" ".join(options), expected="one of these at most", do="Leave out what is not meant"
        )
    if user and asked["--list"]:
        raise WrongUsage(
            "Cannot list the receipts",
            got="--list with the id of a user",
            expected="--list alone: receipts name nobody",
            do="Leave the id out, or see what there is of the user: sommelier forget USER --dry-run",
        )
    if not user and not asked["--list"]:
        raise WrongUsage(
            "Cannot forget", got="user=''", expected="the shop's id of a user", do="Name one: sommelier forget USER"
        )


def _list(layout: Layout, as_json: bool) -> None:
    from flows.erasure.receipts import read_receipts

    rows = [
        {
            "receipt": receipt.number,
            "state": receipt.state,
            "forgotten": receipt.at,
            "finished": receipt.finished_at or "",
            "removed": sum(receipt.removed.values()),
            "bundles": len(receipt.bundles or ()),
            "to go": len(receipt.scheduled),
        }
        for receipt in read_receipts(layout)
    ]
    print_rows(rows, as_json, none=f"nobody was forgotten: {layout.receipts}")


def _print(receipt: Receipt, as_json: bool) -> None:
    from flows.erasure.receipts import describe

    if as_json:
        print_json(receipt.model_dump(mode="json"))
        return
    for line in describe(receipt):
        show(line)
    if receipt.state == "retraining":
        show(
            "the next run of the pipeline trains without the person, and removes these bundles: sommelier run pipeline"
        )


def _preview(receipt: Receipt, as_json: bool) -> None:
    if as_json:
        print_json(receipt.model_dump(mode="json", include={"seen", "seen_from", "bundles", "undetermined", "search"}))
        return
    search = receipt.search
    assert search is not None
    show(f"searched {search.files} files and {search.tables} tables; the user is in {len(search.left)} places")
    for place in search.left:
        show(f"  {place}")
    for one in receipt.bundles or ():
        show(f"would have to go: bundle {one.digest} ({one.place} {one.name}), as {one.why}")
    show("nothing was changed")
