"""Load a bundle: every file checked against the manifest, every model ready to answer."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from recommender.bundle.manifest import Component, Manifest, read_manifest, verify_files
from recommender.errors import BundleError
from recommender.explaining.explainer import Explainer
from recommender.inputs.catalogue import Catalogue
from recommender.inputs.item_vectors import ItemVectors
from recommender.ranking.baseline_ranker import BaselineRanker
from recommender.ranking.blend import Blend, ColdItems
from recommender.ranking.cold_users import ColdUsers, ColdUserWeights, EncoderOf
from recommender.ranking.correction import has_correction, load_correction
from recommender.ranking.parts import counts_all_items, load_parts
from recommender.ranking.ranker import Ranker
from recommender.retrieval.generative.ranker import GenerativeRanker
from recommender.retrieval.sequence.model import load_sequence_model
from recommender.scoring.scorer import PairScorer
from recommender.scoring.stack import StackedScorer, load_scorer
from recommender.writing.writer import FeedbackWriter

# What a bundle may hold beside its ranker.
BundlePart = Literal["scorer", "writer", "explainer", "generative"]
EVERY_PART: tuple[BundlePart, ...] = get_args(BundlePart)


@dataclass
class Bundle:
    """A bundle in memory, ready to answer.

    `scorer`, `writer` and `explainer` are None where the shop's data did not allow one, `generative` where the recipe
    has it off or a baseline ranks; each of them also where it was not asked for.
    """

    folder: Path
    manifest: Manifest
    catalogue: Catalogue
    ranker: Ranker | BaselineRanker
    scorer: PairScorer | StackedScorer | None
    writer: FeedbackWriter | None
    generative: GenerativeRanker | None = None
    explainer: Explainer | None = None
    device: str = "cpu"


def load_bundle(
    folder: Path,
    device: str = "cpu",
    models: Path | None = None,
    parts: Collection[BundlePart] = EVERY_PART,
    beside: Sequence[Bundle] = (),
) -> Bundle:
    """Read a bundle, having checked every file against the manifest.

    Args:
        device: Where its models compute, "cpu" or "cuda", as `device.resolve_device` says.
        models: Where converted language models are kept (`Layout.language_models`); a writer that was fine-tuned from
            the embedded one needs it.
        parts: What is loaded beside the ranker, of what the bundle has; nothing where it is only to rank.
        beside: Bundles in memory: a component whose files are equal is shared with one of them, and not read again.
    Raises:
        BundleError: the manifest cannot be read, a file is missing or differs from what the manifest says, or the
            language model that a part to load was fine-tuned from is not at hand.
    """
    manifest = read_manifest(folder)
    verify_files(folder, manifest)
    twins = _Twins(manifest, [one for one in beside if one.device == device])
    served = twins.of("vectors", "sequence", "blend", "baseline")
    ranker = served.ranker if served is not None else _load_served(folder, manifest, device, twins)
    vectors = ranker.vectors

    def shared(part: BundlePart, *needs: Component) -> Bundle | None:
        twin = twins.of(part, *needs)
        return twin if twin is not None and getattr(twin, part) is not None else None

    generative, scorer = shared("generative", "vectors"), shared("scorer", "vectors")
    writer, explainer = shared("writer"), shared("explainer", "vectors")
    return Bundle(
        folder=folder,
        manifest=manifest,
        catalogue=vectors.catalogue,
        ranker=ranker,
        scorer=(scorer.scorer if scorer else _load_scorer(folder, manifest, vectors, device))
        if "scorer" in parts
        else None,
        writer=(writer.writer if writer else _load_writer(folder, manifest, device, models))
        if "writer" in parts
        else None,
        generative=(generative.generative if generative else _load_generative(folder, manifest, vectors, device))
        if "generative" in parts
        else None,
        explainer=(explainer.explainer if explainer else _load_explainer(folder, manifest, vectors))
        if "explainer" in parts
        else None,
        device=device,
    )


class _Twins:
    """Bundles in memory, and which of their components have the files that a manifest names."""

    def __init__(self, manifest: Manifest, bundles: Sequence[Bundle]) -> None:
        self._manifest, self._bundles = manifest, bundles

    def of(self, *components: Component) -> Bundle | None:
        """A bundle all of these components of which are equal; None where there is none."""
        ours = [_files_of(self._manifest, one) for one in components]
        alike = (one for one in self._bundles if one.manifest.kind == self._manifest.kind)
        return next((one for one in alike if [_files_of(one.manifest, name) for name in components] == ours), None)


def _files_of(manifest: Manifest, component: Component) -> dict[str, str]:
    """A component's files with their digests."""
    return {name: digest for name, digest in manifest.files.items() if name.startswith(f"{component}/")}


def _load_served(folder: Path, manifest: Manifest, device: str, twins: _Twins) -> Ranker | BaselineRanker:
    twin = twins.of("vectors")
    vectors = ItemVectors.load(folder / "vectors") if twin is None else twin.ranker.vectors
    if manifest.kind == "blend":
        blend = folder / "blend" if manifest.has("blend") else None
        return _assemble(vectors, folder / "sequence", blend, device, EncoderOf(folder / "vectors", device))

    ranker = BaselineRanker.load(folder / "baseline", vectors)
    if ranker.kind != manifest.kind:
        raise BundleError(
            "Cannot load bundle",
            got=f"baseline={ranker.kind}",
            expected=f"{manifest.kind}, as the manifest says",
            where=str(folder),
            do="Train a new one: make run",
        )
    return ranker


def load_ranker(vectors: Path, sequence: Path, blend: Path | None, device: str = "cpu") -> Ranker:
    """The ranker of these components, as it is served; `blend` is None where there is none.

    Raises:
        BundleError: a component is missing or damaged.
    """
    return _assemble(ItemVectors.load(vectors), sequence, blend, device, EncoderOf(vectors, device))


def _assemble(items: ItemVectors, sequence: Path, blend: Path | None, device: str, encode: EncoderOf) -> Ranker:
    model = load_sequence_model(sequence, items, device)
    if blend is None:
        return Ranker(items, model)
    cold_users = ColdUsers(ColdUserWeights.load(blend), encode, items.ids)
    held_out = None
    if not counts_all_items(blend):
        held_out = ~model.learned[1:].cpu().numpy() & (items.catalogue.n_events > 0)
    ranker = Ranker(
        items, model, load_parts(blend, items), Blend.load(blend), ColdItems.load(blend), cold_users, held_out
    )
    return ranker.corrected(load_correction(blend, ranker.describer.names) if has_correction(blend) else None)


def _load_generative(folder: Path, manifest: Manifest, vectors: ItemVectors, device: str) -> GenerativeRanker | None:
    if not manifest.has("generative"):
        return None

    return GenerativeRanker.load(folder / "generative", vectors, device)


def _load_scorer(
    folder: Path, manifest: Manifest, vectors: ItemVectors, device: str
) -> PairScorer | StackedScorer | None:
    if not manifest.has("scorer"):
        return None

    return load_scorer(folder / "scorer", vectors, device)


def _load_writer(folder: Path, manifest: Manifest, device: str, models: Path | None) -> FeedbackWriter | None:
    if not manifest.has("writer"):
        return None

    return FeedbackWriter.load(folder / "writer", device, models)


def _load_explainer(folder: Path, manifest: Manifest, vectors: ItemVectors) -> Explainer | None:
    if not manifest.has("explainer"):
        return None

    return Explainer.load(folder / "explainer", vectors.catalogue)
