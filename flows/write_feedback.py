"""Write texts for an audience: of each user's best items, why they suit or what the user would write of them."""

from __future__ import annotations

from hashlib import sha256

from prefect import flow, get_run_logger

from core.layout import Layout
from core.promotions import Version, version_in_service
from core.settings.form import Frozen
from core.storage import digest_of
from flows.audience.author import Assignment
from flows.audience.parts import Parts
from flows.errors import NothingInService
from flows.in_use import note_used
from flows.params import AudienceParams, PipelineParams
from flows.pruning import HOOKS, pruned
from flows.reporting.artifacts import TextsProgress, publish_texts
from flows.reporting.traces import traced
from flows.steps.run import Run
from flows.steps.texts import choose_audience, end_texts, write_part


class Written(Frozen):
    """What there is of an audience's texts.

    Attributes:
        folder: Where they lie, as `part-*.parquet`.
        n_users: How many of the audience have texts.
        n_unknown: How many have none: the shop does not know them. Who is forgotten is not of the audience.
        n_texts: In all.
    """

    folder: str
    model: str
    n_users: int
    n_unknown: int
    n_texts: int


@flow(name="write-feedback", log_prints=False, **HOOKS)
@traced
@pruned
def write_feedback(params: AudienceParams) -> Written:
    """Write a text of each of the best items of each user of an audience, to Parquet files in the shop's folder.

    A run that was killed goes on with the parts that are missing; one that finds all of them written is done.

    Args:
        params: The shop, the audience, and what to write.
    Raises:
        NothingInService: no bundle was promoted yet.
        NoAudience: there is nobody to write for.
        NoWriter: the bundle in service cannot write.
    """
    run = Run.of(PipelineParams(shop=params.shop))
    version = _in_service(run.layout)
    parts = Parts(run.layout.texts(_key(params, version)), params.users_per_part)
    note_used(parts.folder)
    task = Assignment(params.k, params.kind, params.max_words, params.seed, params.decoding)
    chosen = (params.users, params.users_file, params.segment, params.n_users, params.refresh)
    n_parts = choose_audience(run, parts, *chosen)
    log, progress = get_run_logger(), TextsProgress()
    n_texts = n_users = 0
    for number in range(n_parts):
        texts, users = write_part(run, parts=parts, number=number, task=task, version=version)
        n_texts, n_users = n_texts + texts, n_users + users
        shown = f"{number + 1} of {n_parts} parts: {n_texts} texts of {n_users} users"
        log.info("%s", shown)
        progress.show((number + 1) / n_parts, shown)
    n_unknown = len(parts.users()) - n_users
    written = Written(
        folder=str(parts.folder), model=version.tag, n_users=n_users, n_unknown=n_unknown, n_texts=n_texts
    )
    asked = params.model_dump(mode="json", include={"segment", "k", "kind", "max_words", "seed", "decoding"})
    end_texts(run, parts=parts, summary=written.model_dump(exclude={"folder"}) | asked)
    publish_texts(written.model_dump() | asked)
    return written


def _in_service(layout: Layout) -> Version:
    version = version_in_service(layout.model_name)
    if version is None:
        raise NothingInService(
            "Cannot write texts",
            got=f"shop={layout.shop}",
            expected="a shop with a bundle in service",
            do="Run the pipeline deployment first",
        )
    return version


def _key(params: AudienceParams, version: Version) -> str:
    """Of what decides the texts: the bundle, the audience as it is described, and the task."""
    file = params.users_file
    listed = sha256(file.read_bytes()).hexdigest() if file is not None and file.is_file() else str(file)
    return digest_of(version.digest, params.model_dump(mode="json", exclude={"users_file", "refresh"}), listed)
