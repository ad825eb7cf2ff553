"""Which bundle of a shop is in service: one record beside its versions in BentoML's model store.

```
<BENTOML_HOME>/models/<name>/<version>/   a promoted bundle, and BentoML's model.yaml
<BENTOML_HOME>/models/<name>/in_service.json   every change of what is in service, oldest first; the last one counts;
                                               and the versions that were erased, since they learned from the forgotten,
                                               and those that were pruned: of these the manifest and model.yaml are left
```
The record is replaced atomically, after the version that it names is whole and on the disk. A store without a record is
from before there was one: its newest complete version is in service. Readers pass over versions that are not complete.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from core.errors import SommelierError
from core.settings.form import Frozen

RECORD = "in_service.json"
_MODEL_FILE = "model.yaml"
_MANIFEST = "manifest.json"
KEPT_OF_PRUNED = (_MODEL_FILE, _MANIFEST)
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)
_WITHDRAWN_LABEL = "withdrawn_digest"  # of versions that a rollback copied, before there was a record


class PromotionRecordError(SommelierError):
    """The record of what is in service cannot be read."""


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

    @property
    def digest(self) -> str:
        """Of the bundle; the version where the store does not say."""
        return self.labels.get("digest") or self.version

    @property
    def judged(self) -> str:
        """Digest of the bundle that was judged in its place, before it was fitted again on everything; else empty."""
        return self.labels.get("judged", "")


class Change(Frozen):
    """One change of what is in service.

    Attributes:
        at: When, ISO 8601, UTC.
        action: What was done.
        version: What is in service since.
        digest: Of its bundle.
        withdrawn: Digests of the bundles that a rollback took out of service.
        reason: Of whoever asked for it.
    """

    at: str
    action: Literal["promoted", "rolled back"]
    version: str
    digest: str
    withdrawn: tuple[str, ...] = ()
    reason: str = ""


class Erased(Frozen):
    """A bundle that may not answer any more, since it learned from a person who was forgotten.

    Attributes:
        version: That is gone; empty for the word on the bundle itself, wherever it lies, before any version goes.
        digest: Of the bundle.
        at: When that person was forgotten, or the bundle found, ISO 8601, UTC: none of this digest from before may come
            back.
    """

    version: str
    digest: str
    at: str


class Pruned(Frozen):
    """A version whose weights are gone, since so many newer ones are there; what it was is still known.

    Attributes:
        at: When, ISO 8601, UTC.
    """

    version: str
    at: str


class Standing(Frozen):
    """What is in service, what was before, what was withdrawn, erased and pruned, as one read of the record has it.

    Attributes:
        folder: Of the shop's versions.
        changes: Oldest first.
        erased: Versions that are gone, and bundles that are to go.
        pruned: Versions whose weights are gone.
    """

    folder: Path
    changes: tuple[Change, ...]
    erased: tuple[Erased, ...] = ()
    pruned: tuple[Pruned, ...] = ()

    @property
    def generation(self) -> int:
        """Counts the changes: equal generations have the same bundle in service."""
        return len(self.changes)

    @property
    def in_service(self) -> Version | None:
        """The bundle in service, which may be damaged; None before the first promotion."""
        if not self.changes:
            return None
        last = self.changes[-1]
        place = self.folder / last.version
        return _read_version(place) or Version(
            name=self.folder.name,
            version=last.version,
            folder=place,
            labels={"digest": last.digest},
            created_at=last.at,
        )

    @property
    def withdrawn(self) -> frozenset[str]:
        """Digests that a rollback took out of service and nobody put back since."""
        gone: set[str] = set()
        for change in self.changes:
            gone = (gone | set(change.withdrawn)) - {change.digest}
        return frozenset(gone)

    @property
    def good(self) -> dict[str, str]:
        """Digest to version of what was in service, and neither withdrawn nor erased nor pruned: the one in service
        first, then back in time.
        """
        gone = {one.version for one in self.erased} | {one.version for one in self.pruned}
        found: dict[str, str] = {}
        for change in self.changes:
            for digest in (*change.withdrawn, change.digest):
                found.pop(digest, None)
            if change.version not in gone:
                found[change.digest] = change.version
        return dict(reversed(found.items()))

    def forbids(self, digest: str, moment: str) -> bool:
        """Whether a bundle that was there at a moment (ISO 8601, UTC) learned from somebody who was forgotten since."""
        there = datetime.fromisoformat(moment)
        return any(one.digest == digest and there <= datetime.fromisoformat(one.at) for one in self.erased)

    def last_change(self, version: str) -> Change | None:
        """The newest change that put a version into service."""
        return next((change for change in reversed(self.changes) if change.version == version), None)


def model_folder(name: str, variables: Mapping[str, str] | None = None) -> Path:
    """Where the versions of a model lie, in the model store that BENTOML_HOME names."""
    home = (os.environ if variables is None else variables).get("BENTOML_HOME")
    return (Path(home) if home else Path.home() / "bentoml") / "models" / name


def read_standing(name: str) -> Standing:
    """What is in service for a model, and what was.

    Raises:
        PromotionRecordError: the record is there and cannot be read.
    """
    folder = model_folder(name)
    file = folder / RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        gone = {name: record.get(name, []) for name in ("erased", "pruned")}
        return Standing.model_validate({"folder": folder, "changes": record["changes"], **gone})
    except FileNotFoundError:
        return Standing(folder=folder, changes=tuple(_changes_without_record(name)))
    except (OSError, ValueError, KeyError, TypeError) as error:
        words = f"{error.error_count()} wrong fields" if isinstance(error, ValidationError) else str(error)
        raise PromotionRecordError(
            "Cannot read which bundle is in service",
            got=f"record={words}",
            expected="JSON as a promotion writes it",
            where=str(file),
            do="Put it back from a backup; without it, the newest version of the store is in service",
        ) from error


def list_versions(name: str) -> list[Version]:
    """Every complete version of a model, newest first, whatever became of it."""
    return _list_versions(name, _read_version)


def known_versions(name: str) -> list[Version]:
    """Every version of which the store says what it was, newest first: also those that were pruned, or lack a file."""
    return _list_versions(name, _read_known)


def version_in_service(name: str) -> Version | None:
    """The bundle in service; None before the first promotion."""
    return read_standing(name).in_service


def _list_versions(name: str, read: Callable[[Path], Version | None]) -> list[Version]:
    folder = model_folder(name)
    places = [place for place in folder.iterdir() if place.is_dir()] if folder.is_dir() else []
    found = [version for place in places if (version := read(place)) is not None]
    return sorted(found, key=lambda version: (version.created_at, version.version), reverse=True)


def _changes_without_record(name: str) -> Iterator[Change]:
    """The changes that the versions themselves show: each one replaced the one before."""
    for version in reversed(list_versions(name)):
        labels = version.labels
        yield Change(
            at=version.created_at,
            action="rolled back" if "rolled_back_to" in labels else "promoted",
            version=version.version,
            digest=version.digest,
            withdrawn=(labels[_WITHDRAWN_LABEL],) if _WITHDRAWN_LABEL in labels else (),
            reason=labels.get("reason", ""),
        )


def _read_version(place: Path) -> Version | None:
    """A version; None where a file is missing: its copying was cut short, or it was pruned."""
    try:
        version, files = _read_place(place)
    except _UNREADABLE:
        return None
    return version if all((place / name).is_file() for name in files) else None


def _read_known(place: Path) -> Version | None:
    """A version of which files may be missing; None where the store does not say what it was."""
    try:
        return _read_place(place)[0]
    except _UNREADABLE:
        return None


def _read_place(place: Path) -> tuple[Version, tuple[str, ...]]:
    return _parse_place(place, tuple((place / name).stat().st_mtime_ns for name in KEPT_OF_PRUNED))


@lru_cache(maxsize=1024)
def _parse_place(place: Path, stamps: tuple[int, ...]) -> tuple[Version, tuple[str, ...]]:
    """Read a version and the names of its files; the service asks every second, so one that stays is read once."""
    import yaml

    try:
        model: dict[str, Any] = yaml.safe_load((place / _MODEL_FILE).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError("model.yaml was cut short") from error
    files = tuple(json.loads((place / _MANIFEST).read_text(encoding="utf-8"))["files"])
    version = Version(
        name=model["name"],
        version=model["version"],
        folder=place,
        labels={key: str(value) for key, value in (model["labels"] or {}).items()},
        created_at=datetime.fromisoformat(str(model["creation_time"])).isoformat(),
    )
    return version, files
