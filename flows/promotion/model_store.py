"""Promotion and rollback: what changes the record of which bundle of a shop is in service.

A bundle is copied beside BentoML's model store, checked against its manifest and brought to the disk; only then is it
moved into the store, and the record replaced. A process that is killed on the way leaves in service what was there.
Promotions and rollbacks of one shop exclude each other. BENTOML_HOME says where the store lies.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from core.experiments import ExperimentError, Experiments, holding
from core.promotions import (
    KEPT_OF_PRUNED,
    RECORD,
    Change,
    Erased,
    Pruned,
    Standing,
    Version,
    list_versions,
    model_folder,
    read_standing,
)
from core.storage import atomic_file, exclusively, sync_folder, sync_tree, write_json
from flows.errors import BundleRefused, ChampionChanged, NothingInService
from recommender.bundle.manifest import read_manifest, verify_files
from recommender.errors import BundleError

_LOCK = "in_service.lock"
_LATEST = "latest"  # BentoML's own word for the version that a tag without one means
_STAGING = "staging"


def promote(
    folder: Path,
    name: str,
    labels: dict[str, str],
    *,
    reason: str = "",
    generation: int | None = None,
    experiments: int | None = None,
) -> Version:
    """Copy a bundle into the store, and put it into service once the copy is whole.

    Args:
        folder: The bundle.
        name: The model's name in the store.
        labels: Kept with the version.
        reason: Kept in the record.
        generation: Of the record that the promotion was decided on; None promotes over whatever is in service.
        experiments: Of the record of experiments, likewise; None promotes whatever runs.
    Raises:
        ChampionChanged: something was promoted or rolled back since that generation.
        ExperimentError: an experiment or the pin was changed since.
        BundleError: the bundle cannot be read, or a file differs from its manifest.
        BundleRefused: it learned from a person who was forgotten since.
    """
    _require_generation(read_standing(name), generation)  # before the copying, which may take a while
    require_lawful(folder, read_standing(name), "Cannot promote")
    with (
        _staged(folder, name, labels) as staged,
        exclusively(model_folder(name) / _LOCK),
        _as_decided_on(name, experiments),
    ):
        standing = read_standing(name)
        _require_generation(standing, generation)
        require_lawful(staged, standing, "Cannot promote")
        place = standing.folder / staged.name
        staged.rename(place)
        sync_folder(standing.folder)
        digest = read_manifest(place).digest
        return _record(standing, Change(at=_now(), action="promoted", version=place.name, digest=digest, reason=reason))


def roll_back(name: str, version: str = "", reason: str = "", *, steps: int = 1) -> Version:
    """Put an earlier version back in service, and withdraw what is in service and what came after that version.

    Args:
        name: The model's name.
        version: The version; empty for a count of steps.
        reason: Kept in the record.
        steps: How many bundles to go back, of those that were in service and were not withdrawn; two versions of one
            bundle count as one.
    Raises:
        NothingInService: there is no such version.
        BundleRefused: this version of the code cannot load it, nor can the service; or it learned from somebody who
            was forgotten since.
    """
    if not read_standing(name).changes:
        raise _nothing_before(name, f"version={version}" if version else f"steps={steps}", 0)
    with exclusively(model_folder(name) / _LOCK):
        standing = read_standing(name)
        target = _named(standing, version) if version else _earlier(standing, steps)
        require_lawful(target.folder, standing, "Cannot roll back")
        _require_loadable(target)
        digests = list(standing.good)
        newer = digests[: digests.index(target.digest)] if target.digest in digests else digests[:1]
        withdrawn = tuple(digest for digest in newer if digest != target.digest)
        change = Change(
            at=_now(),
            action="rolled back",
            version=target.version,
            digest=target.digest,
            withdrawn=withdrawn,
            reason=reason,
        )
        return _record(standing, change)


def forbid_bundles(name: str, digests: Collection[str]) -> None:
    """Have no bundle of these digests that is there by now go into service any more, wherever it lies.

    Args:
        name: The model's name.
        digests: Of bundles that learned from a person who is forgotten.
    """
    if not digests:
        return
    with exclusively(model_folder(name) / _LOCK):
        standing = read_standing(name)
        others = [one for one in standing.erased if one.version or one.digest not in digests]
        at = datetime.now(UTC).isoformat(timespec="milliseconds")  # as experiments say when they began
        new = [Erased(version="", digest=digest, at=at) for digest in sorted(digests)]
        _write_record(standing.model_copy(update={"erased": (*others, *new)}))


def permit_bundle(name: str, digest: str) -> None:
    """Take back what `forbid_bundles` said of a bundle: learned without the person, it is the same.

    Args:
        name: The model's name.
    """
    with exclusively(model_folder(name) / _LOCK):
        standing = read_standing(name)
        others = tuple(one for one in standing.erased if one.version or one.digest != digest)
        if others != standing.erased:
            _write_record(standing.model_copy(update={"erased": others}))


def erase_versions(name: str, digests: Mapping[str, str], at: str) -> int:
    """Remove versions from the store, and from what a rollback or the service could go back to; not what is in service.

    Args:
        name: The model's name.
        digests: Version to the digest of its bundle.
        at: When the person was forgotten whom they learned from.
    Returns:
        How many folders were removed.
    """
    if not digests:
        return 0
    with exclusively(model_folder(name) / _LOCK):
        standing = read_standing(name)
        current = standing.changes[-1].version if standing.changes else ""
        known = {one.version for one in standing.erased}
        new = [Erased(version=v, digest=d, at=at) for v, d in digests.items() if v not in known and v != current]
        # First nothing refers to them, then they are gone.
        if new:
            _write_record(standing.model_copy(update={"erased": (*standing.erased, *new)}))
        places = [standing.folder / version for version in digests if version != current]
        there = [place for place in places if place.is_dir()]
        for place in there:
            shutil.rmtree(place)
        sync_folder(standing.folder)
    staging = model_folder(name).parents[1] / _STAGING
    with exclusively(staging / f"{name}.lock"):
        shutil.rmtree(staging / name, ignore_errors=True)  # a copy that a killed promotion left
    return len(there)


def prune_versions(name: str, kept: int) -> list[str]:
    """Remove the weights of versions that a rollback is no longer kept for; their manifests stay.

    What is in service stays, what is pinned, what experiments that run answer with, the newest bundles that a rollback
    could go back to, and as many of the newest versions whatever became of them.

    Args:
        name: The model's name.
        kept: How many bundles a rollback and the service itself can choose from, the one in service among them; and
            how many versions stay that went into service last, also those that were withdrawn.
    Returns:
        The versions that were pruned.
    Raises:
        PromotionRecordError, ExperimentError: it cannot be read what is in service or tried; then nothing is removed.
    """
    if not read_standing(name).changes:
        return []
    with exclusively(model_folder(name) / _LOCK), holding(name) as experiments:
        standing = read_standing(name)
        new = _to_prune(standing, experiments, kept)
        # First nothing refers to them, then they are gone.
        if new:
            pruned = tuple(Pruned(version=version, at=_now()) for version in new)
            _write_record(standing.model_copy(update={"pruned": (*standing.pruned, *pruned)}))
        for version in (*(one.version for one in standing.pruned), *new):
            _remove_weights(standing.folder / version)
    return new


def _to_prune(standing: Standing, experiments: Experiments, kept: int) -> list[str]:
    there = {version.version for version in list_versions(standing.folder.name)}
    there -= {one.version for one in standing.pruned}
    good = [version for version in standing.good.values() if version in there]
    if not good:
        return []
    changed = {change.version: number for number, change in enumerate(standing.changes)}
    oldest_first = sorted(there & changed.keys(), key=lambda version: changed[version])
    # A rollback by mistake is taken back: what it withdrew is among the newest.
    used = {*good[:kept], *oldest_first[-kept:], standing.changes[-1].version}
    used |= {variant.bundle.version for one in experiments.running for variant in one.variants}
    if experiments.pin is not None:
        used.add(experiments.pin.version)
    return [version for version in oldest_first if version not in used]


def _remove_weights(place: Path) -> None:
    """Remove everything of a version but what says what it was; what a killed process left of it too."""
    for path in place.iterdir() if place.is_dir() else ():
        if path.name in KEPT_OF_PRUNED:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def find_fault(version: Version) -> BundleError | None:
    """Why a version cannot be loaded, as far as its manifest and the digests of its files tell; None where it can."""
    try:
        verify_files(version.folder, read_manifest(version.folder))
    except BundleError as error:
        return error
    return None


@contextmanager
def _staged(folder: Path, name: str, labels: dict[str, str]) -> Iterator[Path]:
    """A checked copy of a bundle, on the disk, as BentoML lays out a version; outside of the store, on its file system.

    What a killed process left there is removed.
    """
    import bentoml
    from bentoml._internal.models import ModelStore

    staging = model_folder(name).parents[1] / _STAGING
    with exclusively(staging / f"{name}.lock"):
        own = staging / name
        shutil.rmtree(own, ignore_errors=True)
        with bentoml.models.create(name, labels=labels, _model_store=ModelStore(staging)) as model:
            pass
        place = own / model.tag.version
        shutil.copytree(folder, place, dirs_exist_ok=True)
        verify_files(place, read_manifest(place))
        sync_tree(place)
        try:
            yield place
        finally:
            shutil.rmtree(own, ignore_errors=True)


def _record(standing: Standing, change: Change) -> Version:
    """Replace the record with one change more; from the moment of its rename on, that version is in service."""
    after = standing.model_copy(update={"changes": (*standing.changes, change)})
    _write_record(after)
    with atomic_file(standing.folder / _LATEST) as temporary:
        temporary.write_text(change.version, encoding="utf-8")
    version = after.in_service
    assert version is not None
    return version


def _write_record(standing: Standing) -> None:
    record = standing.model_dump(mode="json", include={"changes", "erased", "pruned"})
    write_json(standing.folder / RECORD, {name: said for name, said in record.items() if said or name == "changes"})
    sync_folder(standing.folder)


@contextmanager
def _as_decided_on(name: str, generation: int | None) -> Iterator[None]:
    """Nobody changes the experiments within the block, nor has since they were of this generation; None asks neither.

    Raises:
        ExperimentError: somebody has.
    """
    if generation is None:
        yield
        return
    with holding(name) as found:
        if found.generation != generation:
            raise ExperimentError(
                "Cannot promote",
                got=f"generation={found.generation}",
                expected=f"{generation}, as it was decided on",
                where=name,
                do="Somebody changed the experiments meanwhile: look at them, and decide again",
            )
        yield


def require_lawful(folder: Path, standing: Standing, failed: str) -> None:
    """A bundle that was made before, of what was erased, does not come back by another way.

    Args:
        failed: What fails, as errors say it.
    Raises:
        BundleRefused: it learned from a person who was forgotten since.
    """
    if not standing.erased:
        return
    manifest = read_manifest(folder)
    if standing.forbids(manifest.digest, manifest.created_at):
        raise _learned_from_forgotten(failed, f"digest={manifest.digest}", folder)


def _is_lawful(version: Version, standing: Standing) -> bool:
    try:
        require_lawful(version.folder, standing, "Cannot roll back")
    except BundleRefused:
        return False
    return True


def _learned_from_forgotten(failed: str, got: str, where: object) -> BundleRefused:
    return BundleRefused(
        failed,
        got=got,
        expected="a bundle that learned from nobody who was forgotten since",
        where=str(where),
        do="Choose another of: sommelier models list; or train a new one: sommelier run pipeline",
    )


def _require_generation(standing: Standing, generation: int | None) -> None:
    if generation is None or standing.generation == generation:
        return
    last = standing.changes[-1] if standing.changes else None
    raise ChampionChanged(
        "Cannot promote",
        got=f"in service={last.version if last else 'nothing'}, {last.action if last else ''} since the gate decided",
        expected="what the candidate was compared with",
        where=standing.folder.name,
        do="Run the flow again: it compares the candidate with what is in service now",
    )


def _earlier(standing: Standing, steps: int) -> Version:
    """The version so many good bundles back, of those that are whole and lawful."""
    whole = {version.version: version for version in list_versions(standing.folder.name)}
    earlier = [whole[version] for version in list(standing.good.values())[1:] if version in whole]
    earlier = [version for version in earlier if _is_lawful(version, standing)]
    if not 1 <= steps <= len(earlier):
        raise _nothing_before(standing.folder.name, f"steps={steps}", len(earlier))
    return earlier[steps - 1]


def _nothing_before(name: str, got: str, n_earlier: int) -> NothingInService:
    return NothingInService(
        "Cannot roll back",
        got=got,
        expected=f"at most {n_earlier}, the bundles before the one in service that were not withdrawn",
        where=name,
        do="Name a version of: sommelier models list; or promote another bundle: make run",
    )


def _named(standing: Standing, version: str) -> Version:
    current = standing.changes[-1].version if standing.changes else ""
    if any(one.version == version for one in standing.erased):
        raise _learned_from_forgotten("Cannot roll back", f"version={version}", standing.folder.name)
    if any(one.version == version for one in standing.pruned):
        raise NothingInService(
            "Cannot roll back",
            got=f"version={version}, which was pruned",
            expected="a version whose weights are there: the newest of platform.kept_bundles",
            where=standing.folder.name,
            do="Choose another of: sommelier models list; or train a new one: sommelier run pipeline",
        )
    others = [one for one in list_versions(standing.folder.name) if one.version != current]
    for one in others:
        if one.version == version:
            return one
    raise NothingInService(
        "Cannot roll back",
        got=f"version={version}",
        expected=f"one of {[one.version for one in others]}",
        where=standing.folder.name,
        do="Choose a listed version, or promote a bundle first: make run",
    )


def _require_loadable(version: Version) -> None:
    if error := find_fault(version):
        raise BundleRefused(
            "Cannot roll back",
            got=f"version={version.version}, {error.got}",
            expected=error.expected,
            where=error.where,
            do="Choose another: sommelier models list",
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
