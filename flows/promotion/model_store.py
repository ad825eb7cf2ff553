"""Promotion: BentoML's model store as an append-only record of what was in service.

Only promoted bundles enter the store, so "the newest version" and "the latest promoted bundle" are one thing; a
rollback appends a copy of an earlier version. BENTOML_HOME says where the store lies.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.settings.form import Frozen
from flows.errors import BundleRefused, NothingInService
from recommender.bundle.manifest import read_manifest
from recommender.errors import BundleError

WITHDRAWN = "withdrawn_digest"


class Version(Frozen):
    """One version in the store."""

    name: str
    version: str
    folder: Path
    labels: dict[str, str]
    created_at: str

    @property
    def tag(self) -> str:
        return f"{self.name}:{self.version}"


def list_versions(name: str) -> list[Version]:
    """Every promoted bundle of that name, newest first; looking makes no folder.

    BentoML copies a version into the store file by file and names it the latest when all are there. So what is newer
    than the latest, or cannot be read, is still being copied, or its promotion was killed: it was never in service.
    """
    home = Path(os.environ.get("BENTOML_HOME", "~/bentoml")).expanduser()
    if "bentoml" not in sys.modules and not home.is_dir():
        return []  # BentoML makes its home on import
    import bentoml
    from bentoml.exceptions import BentoMLException, NotFound

    try:
        newest = bentoml.models.get(f"{name}:latest")
    except NotFound:
        return []
    models = []
    for folder in Path(newest.path).parent.iterdir():
        if folder.is_dir():
            with suppress(BentoMLException):
                models.append(bentoml.models.get(f"{name}:{folder.name}"))
    whole = [model for model in models if model.info.creation_time <= newest.info.creation_time]
    return [_version(m) for m in sorted(whole, key=lambda m: m.info.creation_time, reverse=True)]


def newest_version(name: str) -> Version | None:
    """The bundle in service; None before the first promotion."""
    versions = list_versions(name)
    return versions[0] if versions else None


def promote(folder: Path, name: str, labels: dict[str, str]) -> Version:
    """Copy a bundle into the store as the newest version."""
    import bentoml

    with bentoml.models.create(name, labels=labels) as model:
        shutil.copytree(folder, model.path, dirs_exist_ok=True)
    return _version(bentoml.models.get(model.tag))


def roll_back(name: str, version: str, reason: str) -> Version:
    """Put an earlier version back in service, as a new version that says what it is a copy of.

    Args:
        name: The model's name.
        version: The version to copy; empty for the newest one whose weights differ from those in service, and that no
            rollback took out of service.
        reason: Kept among the labels.
    Raises:
        NothingInService: there is no such version.
        BundleRefused: this version of the code cannot load it, nor can the service, or it is damaged.
    """
    versions = list_versions(name)
    digest = versions[0].labels.get("digest") if versions else None
    left = {digest, *_withdrawn(versions)}
    wanted = [v for v in versions[1:] if (v.version == version if version else v.labels.get("digest") not in left)]
    if not wanted:
        earlier = [v.version for v in versions[1:]]
        rule = (
            "an earlier version" if version else "one whose weights differ from those in service, not withdrawn before"
        )
        raise NothingInService(
            "Cannot roll back",
            got=f"version={version or 'the one before'}",
            expected=f"{rule}: one of {earlier}" if version and earlier else rule,
            where=name,
            do="See them: sommelier models list; name one, which may be withdrawn: sommelier rollback <version>"
            if earlier
            else "Nothing else was promoted yet: make run",
        )
    _check_loadable(wanted[0])
    labels = {
        **wanted[0].labels,
        "rolled_back_to": wanted[0].version,
        WITHDRAWN: str(digest),
        "reason": reason,
    }
    return promote(wanted[0].folder, name, labels)


def _check_loadable(version: Version) -> None:
    from recommender.bundle.loading import verify_files

    try:
        verify_files(version.folder, read_manifest(version.folder))
    except BundleError as error:
        raise BundleRefused(
            "Cannot roll back",
            got=f"version={version.version}, {error.got}",
            expected=error.expected,
            where=error.where,
            do="Choose another: sommelier models list",
        ) from error


def withdrawn_digests(name: str) -> set[str]:
    """Bundles that a rollback took out of service, and that nobody put back since: the gate does not promote them."""
    return _withdrawn(list_versions(name))


def _withdrawn(versions: list[Version]) -> set[str]:
    withdrawn: set[str] = set()
    for version in reversed(versions):
        withdrawn |= {version.labels[WITHDRAWN]} if WITHDRAWN in version.labels else set()
        withdrawn.discard(version.labels.get("digest", ""))
    return withdrawn


def _version(model: Any) -> Version:
    return Version(
        name=model.tag.name,
        version=model.tag.version,
        folder=Path(model.path),
        labels=dict(model.info.labels),
        created_at=model.info.creation_time.isoformat(),
    )
