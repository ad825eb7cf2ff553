"""Experiments on bundles: start and stop them, and see what they show. A running service follows within moments."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show, show_aside
from core.errors import WrongUsage

if TYPE_CHECKING:
    from core.experiments import Experiment
    from core.experiments import Kind as Begun
    from core.layout import Layout
    from core.settings.tree import Settings
    from monitoring.online.figures import ExperimentFigures
    from monitoring.online.intervals import Interval, OpenInterval

Kind = Literal["split", "shadow"]
Share = Annotated[float, Parameter(show_default=True)]
Places = Annotated[int, Parameter(show_default=True, validator=Number(gte=1))]


def start(
    name: str,
    /,
    *,
    variant: Annotated[list[str] | None, Parameter(json_list=False)] = None,
    kind: Kind = "split",
    reason: str = "",
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Answer a share of the users by another bundle, always the same users; or have it answer unseen.

    Everybody whom no variant takes is answered by the bundle in service, the champion. One split or canary runs at a
    time, and one shadow.

    Args:
        name: Of the experiment: lower-case letters, digits, dashes.
        variant: NAME=BUNDLE:SHARE, such as new=c6453648b76c:0.5; give it again for more. BUNDLE is a promoted version,
            or the beginning of the digest of one or of a candidate.
        kind: split shows the variants; shadow only compares them with what is shown.
        reason: Kept with the experiment.
    """
    settings = chosen.enter()
    from core.layout import Layout

    variants = _variants(variant or [])
    _start(Layout(settings.work_dir, settings.shop), "experiments start", name, kind, variants, reason)


def canary(
    bundle: str, /, *, share: Share = 0.05, name: str = "canary", reason: str = "", chosen: Chosen = NOT_CHOSEN
) -> None:
    """Answer a small share of the users by a candidate, always the same users.

    It ends with sommelier experiments stop, and is overruled by a rollback or a pin.

    Args:
        bundle: A promoted version, or the beginning of the digest of one or of a candidate.
        share: Of the users, above 0, at most 1.
        name: Of the experiment.
        reason: Kept with the experiment.
    """
    settings = chosen.enter()
    from core.layout import Layout

    _check_share(share, "--share")
    layout = Layout(settings.work_dir, settings.shop)
    _start(layout, "models canary", name, "canary", {"candidate": (bundle, share)}, reason)


def stop(name: str, /, *, reason: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """End an experiment: everybody is answered by the bundle in service again.

    Args:
        name: Of the experiment.
        reason: Kept with it.
    """
    settings = chosen.enter()
    from core import experiments
    from core.layout import Layout
    from core.logs.audit import audited

    layout = Layout(settings.work_dir, settings.shop)
    with audited(layout.audit, "experiments stop", experiment=name):
        stopped = experiments.stop(layout.model_name, name, reason)
    show(f"stopped: {stopped.name}, which ran since {stopped.started_at[:19]}Z")


def list_experiments(*, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """List the experiments, the newest first: which run, on what share of whom, and which are overruled."""
    settings = chosen.enter()
    from core.experiments import read_experiments
    from core.layout import Layout
    from core.promotions import read_standing
    from flows.promotion.experiments import experiment_rows

    name = Layout(settings.work_dir, settings.shop).model_name
    record, standing = read_experiments(name), read_standing(name)
    pin = record.pin_in_force(standing)
    if pin is not None:
        show_aside(f"pinned: version {pin.version}, since {pin.at[:19]}Z; lift it with: sommelier models unpin")
    print_rows(experiment_rows(record, standing), as_json, none="no experiment was started yet")


def show_experiment(name: str, /, *, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show what an experiment brought, by variant, with intervals, and a test that may be looked at any time.

    Args:
        name: Of the experiment.
    """
    settings = chosen.enter()
    figures = _figures(settings, name)
    if as_json:
        print_json(figures.model_dump(mode="json"))
        return
    show(f"{figures.name}: answers from {figures.since} to {figures.until}")
    if figures.dropped:
        show(f"{figures.dropped} records are missing: the prediction log could not take them")
    if figures.lost:
        show("answers of before are gone, from the prediction log and from what is kept of it for experiments")
    rows = [
        {
            "variant": one.variant,
            "share": f"{one.share:g}",
            "answers": one.answers,
            "users": one.users,
            "impressions": one.impressions,
            "clicks": one.clicks,
            "failed": _said(one.failure_rate) if one.failed else "",
            "ctr": _said(one.ctr),
            "hit_rate": _said(one.hit_rate),
            "p50_ms": _said(one.latency_p50_ms, 1),
            "p99_ms": _said(one.latency_p99_ms, 1),
            "coverage": "" if one.coverage is None else f"{one.coverage:.3f}",
            "overlap": _said(one.overlap),
            "rank_correlation": _said(one.rank_correlation),
        }
        for one in figures.variants
    ]
    used = [column for column in rows[0] if any(row[column] != "" for row in rows)]
    print_rows([{column: row[column] for column in used} for row in rows], as_json=False)
    for test in figures.tests:
        if test.difference is None or test.p_value is None:
            show(f"{test.variant} against {test.control}: {test.note}")
            continue
        show(
            f"{test.variant} against {test.control}: hit rate {test.difference.value:+.4f} "
            f"({test.difference.low:+.4f} to {test.difference.high:+.4f}) over {test.users} users, "
            f"p={test.p_value:.4f} at any look. {test.note}"
        )


def estimate(
    name: str,
    /,
    *,
    places: Places = 1,
    clip: float | None = None,
    as_json: AsJson = False,
    chosen: Chosen = NOT_CHOSEN,
) -> None:
    """Estimate what the bundles of a shadow would have brought, had they been shown: clicks per list, with intervals.

    It takes lists that were asked for with exploration: the chance of what they show is in the prediction log.

    Args:
        name: Of the experiment, of the kind shadow.
        places: How many of a list's first places count; the more, the fewer lists can say something.
        clip: No list weighs more than this; it makes estimates surer, and too small.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from core.logs.events import EventLog
    from monitoring.online.off_policy import estimate_shadow

    if clip is not None and not clip > 0:
        raise WrongUsage("Cannot estimate", got=f"--clip={clip}", expected="a weight above 0", do="Give one such as 50")
    layout = Layout(settings.work_dir, settings.shop)
    experiment = _experiment(layout, name)
    rules = settings.serving.experiments
    found = estimate_shadow(experiment, layout.predictions, EventLog(layout.events), rules, places, clip)
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    for one in found:
        show(f"{one.variant}: clicks per list on the first {places} places, of {one.lists} lists of {one.users} users")
        if one.lost_until:
            show(f"lists up to {one.lost_until} are gone from the prediction log: it is of those that are left")
        if one.not_explored:
            show(f"{one.not_explored} lists are left out: they did not explore, or by a seed that was named")
        if one.ips is not None:
            rows = {"as shown": one.logged, "IPS": one.ips, "SNIPS": one.snips, "doubly robust": one.doubly_robust}
            print_rows([{"estimate": key, "clicks": _said(value)} for key, value in rows.items()], as_json=False)
            show(f"effective sample size {one.effective[-1]:.0f} lists; mean weight {one.support[-1]:.2f}, expected 1")
        if one.note:
            show(one.note)


def pin(version: str = "", /, *, reason: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """Have one version answer everybody, whatever is promoted; experiments are overruled.

    The pin lasts until it is lifted, or until a rollback. A version that cannot be loaded leaves the promoted one in
    service.

    Args:
        version: In the model store, or the beginning of its digest; without it, the one in service.
        reason: Kept with the pin.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from core.logs.audit import audited
    from flows.promotion.experiments import pin_version

    layout = Layout(settings.work_dir, settings.shop)
    with audited(layout.audit, "models pin", bundle=version) as details:
        pinned = pin_version(layout, version, reason)
        details["version"] = pinned.version
    show(f"pinned: {layout.model_name}:{pinned.version}, digest {pinned.digest}")


def unpin(*, chosen: Chosen = NOT_CHOSEN) -> None:
    """Lift the pin: the promoted bundle answers again."""
    settings = chosen.enter()
    from core.experiments import read_experiments, set_pin
    from core.layout import Layout
    from core.logs.audit import audited

    layout = Layout(settings.work_dir, settings.shop)
    name = layout.model_name
    before = read_experiments(name).pin
    if before is None:
        show("nothing is pinned")
        return
    with audited(layout.audit, "models unpin", version=before.version):
        set_pin(name, None)
    show(f"not pinned any more: {name}:{before.version}")


def export_predictions(folder: Path | None = None, /, *, since: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """Write the prediction log as one Parquet file: a row per shown item, and whether it was clicked.

    Args:
        folder: Where the file goes; without it, below the shop's folder, where forgetting a person finds it.
        since: Only answers from then on, such as 2026-03-01; without it, all that the log has.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from core.logs.audit import audited
    from core.logs.events import EventLog
    from core.logs.predictions import EXPORTED
    from monitoring.online.export import export_predictions as write

    layout = Layout(settings.work_dir, settings.shop)
    rules = settings.serving.experiments
    target = layout.predictions / EXPORTED if folder is None else folder.absolute()
    moment = {"since": _moment(since)} if since else {}
    events = EventLog(layout.events)
    with audited(layout.audit_reads, "predictions export", **({"since": since} if since else {})) as details:
        file, rows = write(layout.predictions, events, target, rules.clicks, rules.click_window_s, **moment)
        details["rows"] = str(rows)
    show(f"{rows} rows in {file}")


def _figures(settings: Settings, name: str) -> ExperimentFigures:
    from core.layout import Layout
    from core.logs.events import EventLog
    from core.promotions import read_standing
    from monitoring.online.figures import compute_figures

    layout = Layout(settings.work_dir, settings.shop)
    experiment = _experiment(layout, name)
    standing = read_standing(layout.model_name)
    events = EventLog(layout.events)
    return compute_figures(experiment, standing, layout.predictions, events, settings.serving.experiments)


def _experiment(layout: Layout, name: str) -> Experiment:
    from core.experiments import ExperimentError, read_experiments

    record = read_experiments(layout.model_name)
    experiment = record.find(name)
    if experiment is None:
        known = ", ".join(dict.fromkeys(one.name for one in record.experiments)) or "none"
        raise ExperimentError(
            "Cannot show the experiment",
            got=f"name={name}",
            expected=f"one that was started: {known}",
            do="See them all: sommelier experiments list",
        )
    return experiment


def _start(
    layout: Layout, words: str, name: str, kind: Begun, variants: dict[str, tuple[str, float]], reason: str
) -> None:
    from core.logs.audit import audited
    from flows.promotion.experiments import start_experiment

    asked = ", ".join(f"{one}={bundle}:{share:g}" for one, (bundle, share) in variants.items())
    with audited(layout.audit, words, experiment=name, kind=kind, variants=asked):
        experiment = start_experiment(layout, name, kind, variants, reason)
    shares = ", ".join(
        f"{one.name} {one.share:g} ({one.bundle.version or one.bundle.digest[:12]})" for one in experiment.variants
    )
    show(f"started: {experiment.name}, {experiment.kind}: {shares}")
    show(f"see what it brings: sommelier experiments show {experiment.name}")


def _variants(texts: list[str]) -> dict[str, tuple[str, float]]:
    found: dict[str, tuple[str, float]] = {}
    for text in texts:
        name, given = _variant(text)
        if name in found:
            raise WrongUsage(
                "Cannot start the experiment",
                got=f"--variant={text} after another of the same name",
                expected="each variant once",
                do="Give each a name of its own",
            )
        found[name] = given
    return found


def _variant(text: str) -> tuple[str, tuple[str, float]]:
    name, _, rest = text.partition("=")
    bundle, _, share = rest.rpartition(":")
    try:
        portion = float(share)
    except ValueError:
        portion = 0.0
    if not name or not bundle:
        raise WrongUsage(
            "Cannot start the experiment",
            got=f"--variant={text}",
            expected="NAME=BUNDLE:SHARE, such as new=c6453648b76c:0.5",
            do="Give each variant so",
        )
    _check_share(portion, "--variant", text)
    return name, (bundle, portion)


def _check_share(share: float, option: str, text: str = "") -> None:
    if not 0 < share <= 1:
        raise WrongUsage(
            "Cannot start the experiment",
            got=f"{option}={text or share}",
            expected="a share above 0 that is 1 at most",
            do="Give the share of the users, such as 0.05",
        )


def _moment(text: str) -> Any:
    from datetime import UTC, datetime

    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise WrongUsage(
            "Cannot export predictions",
            got=f"--since={text}",
            expected="a day or a time, such as 2026-03-01",
            do="Give it in ISO 8601",
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _said(found: Interval | OpenInterval | None, digits: int = 4) -> str:
    if found is None:
        return ""
    low, high = ("?" if end is None else f"{end:.{digits}f}" for end in (found.low, found.high))
    return f"{found.value:.{digits}f} ({low}-{high})"
