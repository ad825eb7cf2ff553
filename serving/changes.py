"""Takes in what clients say of items and users, and keeps the bundle in service at it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.events import bad_id, canonical_id
from core.overrides import Kind, OverrideRefused, Overrides
from core.removals import request_removal
from serving.api.changes import ItemPatch, ItemSaid, UserForgotten, UserPatch, UserSaid
from serving.engine import Engine
from serving.errors import BadRequest
from serving.lists.shown import LiveCatalogue
from serving.watcher import Loaded


class ChangeDesk:
    """Takes changes in: on the disk before they are acknowledged, and in the answers of every worker at its next poll.

    A change rebuilds what is shown of the catalogue, so that many in one poll cost as much as one.

    Args:
        overrides: Of the shop.
        to_forget: The shop's file of those who wait to be removed.
        forgotten: The shop's record of who is forgotten.
    """

    def __init__(self, overrides: Overrides, to_forget: Path, forgotten: Path) -> None:
        self._overrides = overrides
        self._to_forget, self._forgotten = to_forget, forgotten

    def change_item(self, item_id: str, patch: ItemPatch, engine: Engine | None) -> ItemSaid:
        """Say something of an item.

        Args:
            engine: In service; None where none is.
        Raises:
            BadRequest: the id is none.
            OverrideError: it cannot be kept; then nothing was.
        """
        _check("items", item_id)
        said = self._overrides.patch("items", item_id, patch.fields, patch.attribute_texts, patch.available)
        return ItemSaid.of(said, _knows(engine, said.id))

    def delete_item(self, item_id: str, engine: Engine | None) -> ItemSaid:
        """Say that an item is not to be shown any more.

        Raises:
            BadRequest, OverrideError: as of `change_item`.
        """
        _check("items", item_id)
        said = self._overrides.delete("items", item_id)
        return ItemSaid.of(said, _knows(engine, said.id))

    def change_user(self, user_id: str, patch: UserPatch) -> UserSaid:
        """Say something of a user.

        Raises:
            BadRequest: the id is none, or the user is forgotten.
            OverrideError: as of `change_item`.
        """
        _check("users", user_id)
        try:
            said = self._overrides.patch("users", user_id, patch.fields, patch.attribute_texts)
        except OverrideRefused as error:
            raise BadRequest(
                "Cannot change a user", got="a user who was forgotten", expected="another", do="Leave this user out"
            ) from error
        return UserSaid.of(said)

    def forget_user(self, user_id: str) -> UserForgotten:
        """Forget a user: from now on nothing of theirs is taken in and nobody knows them; a flow removes the rest.

        Raises:
            BadRequest: the id is none.
            RemovalError: it cannot be kept.
        """
        _check("users", user_id)
        return UserForgotten.of(request_removal(self._to_forget, self._forgotten, user_id))

    def follow(self, champion: Loaded[Engine] | None, others: Sequence[Engine]) -> None:
        """Bring everything up that answers.

        Raises:
            OverrideError: as of `bring_up`.
        """
        for engine in (*(() if champion is None else (champion.value,)), *others):
            self.bring_up(engine.live)

    def bring_up(self, live: LiveCatalogue) -> None:
        """Have a catalogue show what was said since it was last brought up.

        Raises:
            OverrideError: what was said cannot be read.
        """
        live.follow(list(self._overrides.since("items", live.version)))


def _knows(engine: Engine | None, item_id: str) -> bool:
    return engine is not None and not engine.unknown_items([item_id])


def _check(kind: Kind, id_: str) -> None:
    if broken := bad_id(canonical_id(id_)):
        raise BadRequest(f"Cannot change {kind}", got=f"id={id_[:60]!r}", expected=broken, do="Give another id")
