"""Starting experiments and pinning versions by hand: which bundles are meant, and that each can be loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.experiments import (
    BundlePlace,
    Experiment,
    Experiments,
    Kind,
    Pin,
    Variant,
    now,
    read_experiments,
    set_pin,
    start,
)
from core.layout import Layout
from core.promotions import Standing, model_folder, read_standing
from flows.errors import BundleNotFound, BundleRefused, NothingInService
from flows.promotion.bundles import find_bundle
from flows.promotion.model_store import require_lawful
from flows.promotion.refits import SHOWN_DIGEST_CHARS
from recommender.bundle.manifest import MANIFEST, read_manifest, verify_files


def start_experiment(
    layout: Layout, name: str, kind: Kind, variants: Mapping[str, tuple[str, float]], reason: str = ""
) -> Experiment:
    """Begin an experiment that every worker of the service follows within moments.

    Args:
        layout: Of the shop.
        name: Of the experiment.
        kind: See `core.experiments.Experiment`.
        variants: Name to the bundle, in any of the ways of `find_bundle`, and its share.
        reason: Kept with it.
    Raises:
        NothingInService: nothing was promoted that it could stand beside.
        BundleNotFound: there is no such bundle.
        BundleRefused, BundleError: a bundle is damaged, or of another shop.
        ExperimentError: names, shares or another experiment are in the way.
    """
    standing = _in_service(layout)
    experiment = Experiment(
        name=name,
        kind=kind,
        variants=tuple(
            Variant(name=one, bundle=find_place(layout, named), share=share) for one, (named, share) in variants.items()
        ),
        started_at=now(),
        generation=standing.generation,
        reason=reason,
    )
    start(layout.model_name, experiment)
    return experiment


def pin_version(layout: Layout, named: str, reason: str = "") -> Pin:
    """Have one version answer everybody, whatever is promoted, until the pin is lifted or something is rolled back.

    Args:
        layout: Of the shop.
        named: A version in the model store, or the beginning of its digest; empty for the one in service.
        reason: Kept with it.
    Raises:
        NothingInService: nothing was promoted yet.
        BundleNotFound: it is not in the model store.
        BundleRefused: it learned from somebody who was forgotten since.
        BundleError: it is damaged.
    """
    standing = _in_service(layout)
    place = find_place(layout, named, "Cannot pin")
    if not place.version:
        raise BundleNotFound(
            "Cannot pin",
            got=f"bundle={named}, a candidate",
            expected="a version in the model store",
            do="Try it on some users first: sommelier models canary; or promote it: sommelier promote",
        )
    pin = Pin(version=place.version, digest=place.digest, at=now(), generation=standing.generation, reason=reason)
    set_pin(layout.model_name, pin)
    return pin


def find_place(layout: Layout, named: str, failed: str = "Cannot experiment") -> BundlePlace:
    """Where the bundle lies that somebody names; it is whole.

    Args:
        layout: Of the shop.
        named: A version in the model store, a folder, or the beginning of a digest; empty for the one in service.
        failed: What fails, as errors say it.
    Raises:
        BundleNotFound, NothingInService: there is none.
        BundleRefused: it is of another shop, learned from somebody who was forgotten since, or lies where the service
            does not look.
        BundleError: it is damaged.
    """
    folder = find_bundle(layout, named).resolve()
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    if manifest.shop != layout.shop:
        raise BundleRefused(
            failed,
            got=f"shop={manifest.shop}",
            expected=layout.shop,
            where=str(folder / MANIFEST),
            do=f"Name its shop: --set shop={manifest.shop}",
        )
    require_lawful(folder, read_standing(layout.model_name), failed)
    learned = manifest.data.learned_until_at.isoformat()
    known = {"digest": manifest.digest, "judged": manifest.judged or "", "learned_until": learned}
    if folder.parent == model_folder(layout.model_name).resolve():
        return BundlePlace(version=folder.name, **known)
    root = layout.root.resolve()
    if not folder.is_relative_to(root):
        raise BundleRefused(
            failed,
            got=f"folder={folder}",
            expected=f"a version in the model store, or a bundle below {root}",
            do="Promote it first; a rollback takes it out of service again",
        )
    return BundlePlace(candidate=str(folder.relative_to(root)), **known)


def candidates_in_use(layout: Layout) -> set[Path]:
    """Folders of candidates that experiments which run need: they are not to be pruned."""
    running = read_experiments(layout.model_name).running
    places = [variant.bundle for experiment in running for variant in experiment.variants]
    return {layout.root / place.candidate for place in places if place.candidate}


def experiment_rows(record: Experiments, standing: Standing) -> list[dict[str, Any]]:
    """One row per variant of each experiment, the newest experiment first."""
    rows = []
    for experiment in reversed(record.experiments):
        overruled = record.overruled(experiment, standing) if experiment.runs else ""
        state = "stopped" if not experiment.runs else "overruled" if overruled else "running"
        rows += [
            {
                "experiment": experiment.name,
                "kind": experiment.kind,
                "state": state,
                "variant": variant.name,
                "share": variant.share,
                "bundle": variant.bundle.version or f"candidate {variant.bundle.digest[:SHOWN_DIGEST_CHARS]}",
                "started_at": f"{experiment.started_at[:19]}Z",
                "stopped_at": f"{experiment.stopped_at[:19]}Z" if experiment.stopped_at else "",
                "note": overruled or experiment.stop_reason or experiment.reason,
            }
            for variant in experiment.variants
        ]
    return rows


def _in_service(layout: Layout) -> Standing:
    standing = read_standing(layout.model_name)
    if not standing.changes:
        raise NothingInService(
            "Cannot experiment",
            got=f"shop={layout.shop}",
            expected="a shop with a promoted bundle",
            where=str(layout.root),
            do="Run the pipeline first, or name the shop: --set shop=<name>",
        )
    return standing
