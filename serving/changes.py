"""Takes in what clients say of items and users, and keeps the bundle in service at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from core.events import bad_id, canonical_id
from core.overrides import Kind, Override, OverrideError, OverrideRefused, Overrides
from core.removals import request_removal
from serving.api.changes import ItemPatch, ItemSaid, UserForgotten, UserPatch, UserSaid
from serving.engine import Engine
from serving.errors import BadRequest
from serving.lists.said import Said
from serving.lists.shown import LiveCatalogue
from serving.watcher import Loaded

_FIND_TIMEOUT_S = 1.0  # somebody waits for a record


@dataclass(frozen=True)
class _Known:
    """What was read of what clients say.

    Attributes:
        generation: Grows where another file stands in the place of the one that was read; its versions count anew.
        file: Device and inode; None where there was none.
        newest: Version of the file when it was read, which never falls in one file.
        version: Of the newest of `said`.
        said: Of items, by id.
    """

    generation: int
    file: tuple[int, int] | None
    newest: int
    version: int = 0
    said: Mapping[str, Override] = field(default_factory=dict)


class ChangeDesk:
    """Takes changes in: on the disk before they are acknowledged, and in the answers of every worker at its next poll.

    A change rebuilds what is shown of the catalogue, so that many in one poll cost as much as one. Where the file
    was moved away, or another put in its place, that one counts alone from the next poll on.

    Args:
        overrides: Of the shop.
        to_forget: The shop's file of those who wait to be removed.
        forgotten: The shop's record of who is forgotten.
    """

    def __init__(self, overrides: Overrides, to_forget: Path, forgotten: Path) -> None:
        self._overrides = overrides
        self._to_forget, self._forgotten = to_forget, forgotten
        self._known: _Known | None = None
        self._reading = Lock()
        self._problem: str | None = None

    @property
    def problem(self) -> str | None:
        """Why what clients said could not be read the last time that anybody tried; None where it could."""
        return self._problem

    def said_of(self, kind: Kind, id_: str, is_whole: bool = False) -> Said:
        """What clients say of an item or a user, also what no worker follows yet; nothing of a user who is forgotten.
        Where it cannot be read, of an item what was read before, and of a user nothing.

        Args:
            is_whole: Whether who asks may see it as it was said.
        """
        try:
            return Said(self._overrides.find(kind, id_, _FIND_TIMEOUT_S), is_whole=is_whole)
        except OverrideError as error:
            self._problem = str(error)
            known = self._known
            before = None if known is None or kind == "users" else known.said.get(canonical_id(id_))
            return Said(before, is_read=False, is_whole=is_whole)

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
            OverrideError: what was said since cannot be read.
        """
        self._read()
        for engine in (*(() if champion is None else (champion.value,)), *others):
            self.bring_up(engine.live)

    def look(self) -> None:
        """See that it is known what was said, before anything is loaded that would have to show it.

        Raises:
            OverrideError: it cannot be read, and never could be.
        """
        try:
            self._read()
        except OverrideError:
            if self._known is None:
                raise

    def bring_up(self, live: LiveCatalogue) -> None:
        """Have a catalogue show what was said since it was last brought up, as far as it can be read: what was deleted
        does not come back with a bundle that is loaded while the file is damaged.

        Raises:
            OverrideError: as of `look`.
        """
        self.look()
        known = self._known
        if known is None or (live.generation, live.version) == (known.generation, known.version):
            return
        after = live.version if live.generation == known.generation else 0
        news = [one for one in known.said.values() if one.version > after]
        live.follow(sorted(news, key=lambda one: one.version), known.generation)

    def _read(self) -> None:
        with self._reading:
            try:
                self._read_news()
            except Exception as error:
                self._problem = str(error)
                raise
            self._problem = None

    def _read_news(self) -> None:
        # Before what is said: what comes in between is read once more at the next poll, and never left out.
        file, newest = self._overrides.identity(), self._overrides.newest()
        known = self._known
        if known is None:
            known = _Known(0, file, newest)
        elif newest < known.newest or (known.file is not None and file != known.file):
            known = _Known(known.generation + 1, file, newest)
        elif newest == known.newest and file == known.file:
            return
        news = list(self._overrides.since("items", known.version))
        # Assigned whole: others may look at it meanwhile.
        self._known = _Known(
            known.generation,
            file,
            newest,
            max((known.version, *(one.version for one in news))),
            {**known.said, **{one.id: one for one in news}},
        )


def _knows(engine: Engine | None, item_id: str) -> bool:
    return engine is not None and not engine.unknown_items([item_id])


def _check(kind: Kind, id_: str) -> None:
    if broken := bad_id(canonical_id(id_)):
        raise BadRequest(f"Cannot change {kind}", got=f"id={id_[:60]!r}", expected=broken, do="Give another id")
