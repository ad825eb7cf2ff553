"""Writing texts for an audience: whom for, part by part, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.layout import Layout
from core.overrides import Overrides
from core.promotions import Version
from core.storage import remove_folder
from core.tombstones import TombstoneFile, read_tombstones
from flows.audience.choice import active_users, named_users
from flows.audience.parts import Parts
from flows.errors import NoAudience
from flows.last_validation import require_validation
from flows.steps.step import StepContext, action
from recommender.inputs.texts import WritingTask

if TYPE_CHECKING:
    from flows.audience.author import Assignment, Author
    from recommender.bundle.loading import BundlePart


# What a text comes from.
_PARTS: Mapping[WritingTask, tuple[BundlePart, ...]] = {"reason": ("explainer",), "review": ("scorer", "writer")}


@action("choose-audience", needs_room=True)
def choose_audience(
    step: StepContext,
    parts: Parts,
    users: tuple[str, ...],
    users_file: Path | None,
    segment: str,
    n_users: int,
    refresh: bool,
) -> int:
    """Settle whom the texts are for, unless that was settled before; returns how many parts there are to be.

    Nobody who is forgotten is among them, whoever names them.
    """
    if refresh or not parts.is_begun:
        remove_folder(parts.folder)
        named = named_users(users, users_file)
        if not (named or users_file or users):
            named = active_users(require_validation(step.layout).folder, n_users, segment)
        is_forgotten = read_tombstones(step.layout.forgotten).holds
        named = [user for user in named if not is_forgotten(user)]
        if not named:
            raise NoAudience(
                "Cannot write texts",
                got=f"users=0 of segment={segment or 'all'}",
                expected="at least one user",
                where=parts.folder.name,
                do="Name users, or another segment",
            )
        parts.begin(named)
    return parts.n_parts()


@action("write-texts", needs_room=True, computes=True)
def write_part(step: StepContext, parts: Parts, number: int, task: Assignment, version: Version) -> tuple[int, int]:
    """Write a part, unless it is there; returns how many texts it has, of how many users.

    Nobody who is forgotten has texts: the online store does not know them.
    """
    if not parts.part(number).is_file():
        author = _author(step.layout, version.folder, version.tag, step.device, task.kind)
        hidden = [said.id for said in Overrides(step.layout.overrides).since("items") if said.is_hidden]
        parts.write(number, author.write(parts.users_of(number), task, hidden))
    return parts.count(number)


@action("end-texts")
def end_texts(step: StepContext, parts: Parts, summary: Mapping[str, Any]) -> None:
    """Say that all is written, and what it is."""
    parts.end(dict(summary))


@lru_cache(maxsize=1)
def _author(layout: Layout, folder: Path, tag: str, device: str, kind: WritingTask) -> Author:
    """The bundle in service, loaded once in a process."""
    from transformers.utils.logging import disable_progress_bar

    from features.online import OnlineFeatures
    from flows.audience.author import Author
    from recommender.bundle.loading import load_bundle

    disable_progress_bar()
    bundle = load_bundle(folder, device, layout.language_models, parts=_PARTS[kind])
    is_forgotten = TombstoneFile(layout.forgotten).holds
    return Author(tag, bundle, OnlineFeatures(layout.feast, bundle.manifest.recipe.features, is_forgotten))
