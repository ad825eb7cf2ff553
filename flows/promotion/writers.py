"""Whose writer goes into the bundle of a baseline that stands in for a refused candidate: the better one.

A candidate that ranks too badly may have learned to write as little. Two writers of the same settings are compared on
the reviews of the candidate's test window, of which neither may know anything: where the one in service does, the one
that was judged in its place is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.promotions import Standing
from core.storage import digest_of
from flows.promotion.champion import raise_if_out_of_memory
from recommender.bundle.manifest import Manifest, WriterOrigin, read_manifest, verify_files
from recommender.errors import BundleError
from recommender.evaluation.feedback.names import without_samples

if TYPE_CHECKING:
    from recommender.evaluation.feedback.comparison import WriterComparison
    from recommender.inputs.catalogue import Catalogue
    from recommender.writing.examples import WritingExample
    from recommender.writing.writer import FeedbackWriter

# With fewer reviews an interval says nothing.
MIN_REVIEWS = 20


@dataclass(frozen=True)
class ReviewWindow:
    """What two writers are compared on.

    Attributes:
        candidate: The bundle that is refused.
        training: Its training set, with the reviews of every window.
        find_judged: Gives the folder of a bundle as it was judged, by its digest; None where it is gone.
        device: Where writers compute.
        models: Where converted language models are kept.
        progress: Called with lines of progress.
    """

    candidate: Path
    training: Path
    find_judged: Callable[[str], Path | None] = lambda _: None
    device: str = "cpu"
    models: Path | None = None
    progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class WriterInService:
    """The writer of the bundle in service.

    Attributes:
        folder: Of the component.
        digest: Of its files, and of the bundle that it was fitted for.
        origin: That bundle, with the figures on the candidate's window.
        reason: Why it is taken, a clause.
    """

    folder: Path
    digest: str
    origin: WriterOrigin
    reason: str


def find_better_writer(window: ReviewWindow, standing: Standing, to_go: Collection[str] = ()) -> WriterInService | None:
    """The writer in service, where it is better than a candidate's beyond chance, or the candidate has none.

    Args:
        window: The candidate, and the reviews to compare on.
        standing: Says what is in service.
        to_go: Versions that learned from people who are forgotten: a writer of one of them is not taken.
    Returns:
        None where it is not better or nobody can say; where `recipe.writer` is another one than it was fitted by; where
        the shop has no review any more; and where it cannot be read, or has to go.
    """
    served = standing.in_service
    if served is None or served.version in to_go:
        return None
    try:
        theirs, ours = read_manifest(served.folder), read_manifest(window.candidate)
        if not theirs.has("writer") or theirs.recipe.writer != ours.recipe.writer:
            return None
        verify_files(served.folder, theirs)
        reason, metrics = _measure(window, ours, served.folder, theirs)
    except BundleError as error:  # of another version of the code, damaged, or without its language model
        raise_if_out_of_memory(error)
        return None
    if not reason:
        return None
    own = WriterOrigin(bundle=theirs.digest, judged=theirs.judged, data=theirs.data)
    origin = (theirs.writer_from or own).model_copy(update={"metrics": metrics})
    files = {name: digest for name, digest in theirs.files.items() if name.startswith("writer/")}
    return WriterInService(served.folder / "writer", digest_of(files, origin.bundle), origin, reason)


def with_own_writer(bundle: Manifest, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A candidate's evaluation as it is kept with what is promoted: of a baseline that took over the writer in service,
    the figures of that one on the same window.
    """
    return dict(metrics) if bundle.writer_from is None else {**metrics, "writer": bundle.writer_from.metrics}


def _measure(window: ReviewWindow, ours: Manifest, served: Path, theirs: Manifest) -> tuple[str, dict[str, Any] | None]:
    """Why the writer in service is taken, empty where it is not, and its figures; None where none can be had."""
    from recommender.inputs.catalogue import Catalogue
    from recommender.writing.examples import read_reviews

    catalogue = Catalogue.read(window.training, ours.recipe.seed)
    asked = read_reviews(window.training, "test", catalogue)
    folder = _find_unknowing(window, ours, served, theirs) if asked else None
    if not ours.has("writer"):
        if not asked and not _has_reviews(window, catalogue):
            return "", None
        metrics = None if folder is None else _evaluate(window, ours, _read_writer(folder, window))
        return "the candidate has none", metrics
    if folder is None or len(asked) < MIN_REVIEWS:
        return "", None
    own, other = (_read_writer(one, window) for one in (window.candidate, folder))
    compared = _compare(own, other, asked, ours.recipe.seed)
    if compared.low <= 0:
        return "", None
    reason = (
        f"it expects {compared.n_reviews} reviews of the test window at {compared.second:.3f} bits per byte, the "
        f"candidate's at {compared.first:.3f} (95 % interval of the difference {compared.low:.3f} to "
        f"{compared.high:.3f})"
    )
    return reason, _evaluate(window, ours, other)


def _has_reviews(window: ReviewWindow, catalogue: Catalogue) -> bool:
    from recommender.writing.examples import read_reviews

    return any(read_reviews(window.training, split, catalogue) for split in ("train", "validation"))


def _find_unknowing(window: ReviewWindow, ours: Manifest, served: Path, theirs: Manifest) -> Path | None:
    """The bundle whose writer is measured: that in service, or the one that was judged in its place, whichever knows
    nothing of the candidate's test window; None where neither is such.
    """
    origin = theirs.writer_from or theirs
    opens = datetime.fromisoformat(ours.data.test_at)
    if origin.data.unknown_from <= opens:
        return served
    folder = None if origin.judged is None else window.find_judged(origin.judged)
    if folder is None:
        return None
    judged = read_manifest(folder)
    if not judged.has("writer") or judged.writer_from is not None or judged.data.unknown_from > opens:
        return None
    verify_files(folder, judged)
    return folder


def _read_writer(bundle: Path, window: ReviewWindow) -> FeedbackWriter:
    from recommender.writing.writer import FeedbackWriter

    return FeedbackWriter.load(bundle / "writer", window.device, window.models, window.progress)


def _compare(
    ours: FeedbackWriter, theirs: FeedbackWriter, reviews: list[WritingExample], seed: int
) -> WriterComparison:
    from recommender.evaluation.feedback.comparison import compare_writers
    from recommender.writing.examples import sample

    return compare_writers(ours, theirs, sample(reviews, ours.n_measured), seed)


def _evaluate(window: ReviewWindow, ours: Manifest, writer: FeedbackWriter) -> dict[str, Any]:
    """The figures of a writer on the candidate's window, as the candidate's own are found; without anybody's texts."""
    from recommender.encoders.encoder import TextEncoder
    from recommender.evaluation.feedback.evaluation import evaluate_writer
    from recommender.inputs.item_vectors import ItemVectors

    encoder = TextEncoder.load(ours.recipe.encoder, window.progress, window.device)
    vectors, seed = ItemVectors.load(window.candidate / "vectors"), ours.recipe.seed
    found = evaluate_writer(writer, window.training, vectors, encoder, seed=seed, progress=window.progress)
    kept: dict[str, Any] = without_samples({"writer": found})["writer"]
    return kept
