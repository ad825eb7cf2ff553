"""Drift: the newest days of a shop against its own quiet past."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from core.layout import Layout
from core.logs.events import EventLog
from core.promotions import read_standing
from core.storage import digest_of
from flows.environment import current_settings
from flows.promotion.champion import read_served_manifest
from flows.reporting import artifacts
from flows.reporting.gauges import publish_look, publish_variants
from flows.reporting.reports import DRIFT, write_index
from flows.steps.run import Run
from flows.steps.step import Output, StepContext, action, step
from recommender.bundle.manifest import read_manifest
from recommender.errors import BundleError

if TYPE_CHECKING:
    from core.settings.features import FeatureSettings
    from core.settings.monitoring import ExperimentSettings
    from features.point_in_time.states import StatesThen
    from monitoring.drift import DriftSummary
    from monitoring.extent import Extent
    from monitoring.signals.activity import FloodRule
    from validation.summary import ValidationSummary


class Then:
    """Users as of moments, for the looks that ask the bundle in service about past days: the first that asks reads the
    events, half a gigabyte of memory for a million, and the others use what it read.

    Args:
        clean: The folder of the clean tables.
    """

    def __init__(self, clean: Path) -> None:
        self._clean = clean
        self._made: tuple[FeatureSettings, StatesThen] | None = None

    def of(self, settings: FeatureSettings) -> StatesThen:
        """By the features of a bundle."""
        from features.point_in_time.states import StatesThen

        if self._made is None or self._made[0] != settings:
            self._made = None  # before the others are read: there is room for one
            self._made = settings, StatesThen(self._clean, settings)
        return self._made[1]


def _page(layout: Layout, key: str, inputs: Mapping[str, Any]) -> Path:
    """A page of its own for each key: a result that is used again finds the page that was written with it."""
    return layout.reports / inputs["clean"].key / DRIFT / f"{key}.html"


@action("sum-up-answers")
def sum_up_days(
    step: StepContext, clean: Output[ValidationSummary], counted: ExperimentSettings, counts_kept_days: float
) -> str:
    """Sum up the days of answers and of requests that are over, and say by a digest what is known of all of them."""
    from monitoring.answers.daily import AnswerLogs, sum_up_answers
    from monitoring.answers.promises import promised_ndcg
    from monitoring.answers.service import sum_up_service

    layout = step.layout
    events = EventLog(layout.events)
    logs = AnswerLogs(layout.predictions, events, clean.folder, counted.clicks, counted.click_window_s)
    days = sum_up_answers(layout.watched, logs, promised_ndcg(layout.model_name))
    served = sum_up_service(layout.watched, layout.answered, counts_kept_days)
    return digest_of(*(one.model_dump(mode="json") for one in [*days, *served]))


@action("replay", reads=("drift.filter_floods", "validation.cleaning.floods"), computes=True)
def replay_days(step: StepContext, clean: Output[ValidationSummary], extent: Extent, then: Then) -> str:
    """Ask the bundle in service about the days that are new since it learned, and say by a digest what is known of all.

    A bundle that cannot be loaded is asked nothing: the service says so, and the look goes on without.
    """
    from monitoring.answers.asked_days import Replayed, days_to_replay
    from monitoring.answers.promises import promised_warm
    from monitoring.answers.replay import read_replay_days, replay
    from recommender.bundle.loading import load_bundle

    layout, standing = step.layout, read_standing(step.layout.model_name)
    known, served = read_replay_days(layout.watched), standing.in_service
    if served is not None:
        try:
            manifest = read_manifest(served.folder)
            learned, k = manifest.data.learned_until_at, manifest.recipe.evaluation.k
            if wanted := days_to_replay(extent, known, learned):
                ranker = load_bundle(served.folder, step.device, parts=()).ranker
                catalogue_until = datetime.fromisoformat(manifest.data.last_event_at)
                promise = promised_warm(manifest, k)
                asked = Replayed(manifest.digest, learned, promise, k, _flood_rule(step), catalogue_until)
                states_then = then.of(manifest.recipe.features)
                known = replay(layout.watched, clean.folder, states_then, ranker, asked, wanted)
        except BundleError as error:
            step.progress(f"monitor: nothing is replayed. {error}")
    return digest_of(*(one.model_dump(mode="json") for one in known))


@action("rate", reads=("drift.filter_floods", "validation.cleaning.floods"), computes=True)
def rate_days(step: StepContext, clean: Output[ValidationSummary], extent: Extent, then: Then) -> str:
    """Ask the scorer of the bundle in service about ratings since it learned, and say by a digest what is known of all.

    A bundle without a scorer, or one that cannot be loaded, is asked nothing.
    """
    from monitoring.answers.asked_days import Replayed, days_to_replay
    from monitoring.answers.rated import rate, read_rated_days
    from recommender.bundle.loading import load_bundle

    layout, served = step.layout, read_standing(step.layout.model_name).in_service
    known = read_rated_days(layout.watched)
    if served is not None:
        try:
            manifest = read_manifest(served.folder)
            learned = manifest.data.learned_until_at
            wanted = days_to_replay(extent, known, learned) if manifest.has("scorer") else []
            if wanted:
                bundle = load_bundle(served.folder, step.device, layout.language_models, parts=["scorer"])
                assert bundle.scorer is not None
                asked = Replayed(manifest.digest, learned, {}, manifest.recipe.evaluation.k, _flood_rule(step))
                like_from = bundle.scorer.baseline.like_from
                ids = bundle.catalogue.ids
                states_then = then.of(manifest.recipe.features)
                known = rate(layout.watched, clean.folder, states_then, bundle.scorer, asked, wanted, ids, like_from)
        except BundleError as error:
            step.progress(f"monitor: no rating is foreseen. {error}")
    return digest_of(*(one.model_dump(mode="json") for one in known))


class Embedded(NamedTuple):
    """What a look embedded.

    Attributes:
        digest: Of what is kept.
        is_done: Whether what is new was embedded; where nothing was, the last look that did knows more.
        kept_by: What kept it from being more, a sentence, empty where nothing did.
    """

    digest: str
    is_done: bool
    kept_by: str


@action("embed-days", reads=("drift.filter_floods", "validation.cleaning.floods"), computes=True)
def embed_days(
    step: StepContext, clean: Output[ValidationSummary], extent: Extent, end: datetime | None, embeds: bool
) -> Embedded:
    """Place items by the vectors of the bundle in service, and embed reviews of new days.

    Nothing is embedded where no bundle is in service that can be read, and of a shop that is too young to be compared.

    Args:
        end: Where the newest day ends; None: behind the newest event.
        embeds: Whether texts are; otherwise the bundle's own items are placed, and the rest is left to a later look.
    """
    from flows.steps.fits import model_digest
    from monitoring.answers.signals import NEEDED_DAYS
    from monitoring.embeddings.items import place_items
    from monitoring.embeddings.reviews import embed_reviews, encoder_digest, read_reviews
    from recommender.encoders.encoder import EncoderError
    from recommender.encoders.weights import original_encoder, read_encoder_settings

    watched, served = step.layout.watched, read_standing(step.layout.model_name).in_service
    reviews, digest, is_done, kept_by = read_reviews(watched), "", False, ""
    until = end or extent.newest
    is_old = extent.first is not None and until is not None and until - extent.first >= timedelta(days=NEEDED_DAYS)
    if served is not None and is_old:
        try:
            manifest = read_manifest(served.folder)
            if manifest.has("vectors"):
                vectors = served.folder / "vectors"
                encode = original_encoder(vectors, step.progress, step.device) if embeds else None
                max_chars = manifest.recipe.features.max_item_chars
                items = place_items(watched, clean.folder, vectors, manifest.digest, encode, max_chars)
                digest = digest_of(items.digest, items.item_ids)
                if encode is not None:
                    settings = read_encoder_settings(vectors)
                    decisive = {"model": settings.model, "tokens": settings.max_tokens}
                    encoder = encoder_digest(decisive, model_digest(settings))
                    reviews = embed_reviews(watched, clean.folder, extent, _flood_rule(step), encoder, encode)
                    is_done = True
        except (BundleError, EncoderError) as error:
            kept_by = str(error)
            step.progress(f"monitor: nothing is embedded. {error}")
    elif served is not None:
        kept_by = f"The shop's events do not span {NEEDED_DAYS} days yet, which a quiet past takes."
    return Embedded(digest_of(digest, reviews and reviews.model_dump(mode="json")), is_done, kept_by)


@step("monitor", at=_page, reads=("drift", "validation.cleaning.floods"), unkeyed=("extent",))
def watch_drift(
    step: StepContext,
    clean: Output[ValidationSummary],
    cut_at: datetime,
    learned_until: datetime | None,
    in_service: str | None,
    end: datetime | None,
    answers: tuple[str, ...],
    not_embedded: str,
    extent: Extent,
) -> DriftSummary:
    """Look at the newest days: signals against their calibrated past, alarms, and reports.

    Args:
        in_service: Digest of the bundle in service; None where there is none.
        answers: Digests of what is known of answers, given, replayed and rated, and of embeddings: with others, the
            look is another one.
        not_embedded: What kept texts from being embedded, a sentence; empty where nothing did.
        extent: Of the clean tables' events; it follows from them.
    """
    from monitoring.answers.staleness import Learned
    from monitoring.drift import Places, report_drift

    layout, settings = step.layout, step.recipe.drift
    places = Places(clean.folder, layout.monitoring, layout.watched, step.target)
    learned, rule = Learned(cut_at, learned_until, in_service), _flood_rule(step)
    summary = report_drift(places, layout.shop, learned, settings, rule, end, extent, not_embedded)
    told = [summary.note] if summary.note else [*(alarm.says for alarm in summary.alarms), *summary.unwatched]
    for line in told:
        step.progress(f"monitor: {line}")
    return summary


def _flood_rule(step: StepContext) -> FloodRule:
    from monitoring.signals.activity import FloodRule

    floods = step.recipe.validation.cleaning.floods
    return FloodRule(floods.factor, floods.min_repeats, step.recipe.drift.filter_floods)


def watch(run: Run, clean: Output[ValidationSummary], cut_at: datetime, *, embeds: bool) -> DriftSummary:
    """Look at the newest days.

    Args:
        cut_at: Up to here is what the model learned from.
        embeds: Whether the texts that are new are embedded; otherwise those are looked at that were embedded before.
    """
    from monitoring.answers.variants import read_variant_days
    from monitoring.drift import live_end
    from monitoring.extent import find_extent

    extent = find_extent(clean.folder)
    end = live_end(extent, datetime.now(UTC))
    served = read_served_manifest(read_standing(run.layout.model_name))
    learned_until = None if served is None else served.data.learned_until_at
    serving = current_settings().serving
    then = Then(clean.folder)
    embedded = embed_days(run, clean=clean, extent=extent, end=end, embeds=embeds)
    answers = (
        sum_up_days(run, clean=clean, counted=serving.experiments, counts_kept_days=serving.answered.days),
        replay_days(run, clean=clean, extent=extent, then=then),
        rate_days(run, clean=clean, extent=extent, then=then),
        embedded.digest,
    )
    del then  # with what was read
    drift = watch_drift(
        run,
        clean=clean,
        cut_at=cut_at,
        learned_until=learned_until,
        in_service=None if served is None else served.digest,
        end=end,
        answers=answers,
        not_embedded=embedded.kept_by,
        extent=extent,
    )
    write_index(run.layout)
    publish_look(run.layout, drift.value.alarms, drift.value.signals, embeds=embedded.is_done)
    over = datetime.now(UTC) - timedelta(days=1, seconds=serving.experiments.click_window_s)
    publish_variants(run.layout, read_variant_days(run.layout.watched), over.date())
    artifacts.publish_drift(drift.value, run.page_url(drift.folder), run.monitoring_url)
    return drift.value
