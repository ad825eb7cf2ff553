"""Bundles: what was promoted, what goes into service, how good one is."""

from __future__ import annotations

from cli.options import NOT_CHOSEN, AsJson, Chosen
from cli.output import print_json, print_rows, show

_MAX_STEPS_CHARS = 3


def list_models(*, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """List the promoted bundles, newest first: which is in service, which were replaced, which were withdrawn."""
    settings = chosen.enter()
    from core.layout import Layout
    from flows.promotion.bundles import version_rows

    layout = Layout(settings.work_dir, settings.shop)
    print_rows(version_rows(layout.model_name), as_json, none=f"no bundle was promoted yet: {layout.root}")


def promote(bundle: str, /, *, reason: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """Put a bundle into service by hand, whatever the gate says; a running service swaps to it by itself.

    A damaged bundle is refused, and one that another version of the code wrote.

    Args:
        bundle: A folder, a promoted version, or the beginning of the digest of one or of a candidate.
        reason: Kept with the version, as your user name is.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from core.logs.audit import audited
    from core.promotions import read_standing
    from flows.loop.changes import record_changes
    from flows.promotion.bundles import describe_promotion, find_bundle, promote_by_hand

    layout = Layout(settings.work_dir, settings.shop)
    before = read_standing(layout.model_name)
    with audited(layout.audit, "promote", bundle=bundle) as details:
        version = promote_by_hand(layout, find_bundle(layout, bundle), reason)
        details["version"] = version.version
        record_changes(layout)
    for line in describe_promotion(before, version, reason):
        show(line)


def rollback(version: str = "", /, *, reason: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """Put an earlier bundle back in service; a running service swaps to it by itself.

    What is in service, and what went into service after the bundle that comes back, is withdrawn: neither the gate nor
    another rollback puts it into service again by itself. `sommelier promote` does.

    Args:
        version: Of `sommelier models list`, or how many good bundles to go back, such as 2; without it, one.
        reason: Kept in the record.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from core.logs.audit import audited
    from flows.loop.changes import record_changes
    from flows.promotion.model_store import roll_back

    layout = Layout(settings.work_dir, settings.shop)
    # No version is that short.
    is_count = version.isdecimal() and len(version) <= _MAX_STEPS_CHARS
    steps, version = (int(version), "") if is_count else (1, version)
    with audited(layout.audit, "rollback", **({"to": version} if version else {"steps": str(steps)})) as details:
        back = roll_back(layout.model_name, version, reason, steps=steps)
        details["version"] = back.version
        record_changes(layout)
    show(f"in service again: {back.tag}, digest {back.digest}")


def approve(run: str = "", /, *, refuse: bool = False, comment: str = "", chosen: Chosen = NOT_CHOSEN) -> None:
    """Approve what passed the gate and waits for it (recipe.gate.approval), or refuse it; the Prefect UI does the same.

    The run goes on in a process of the platform, or of a worker: what was approved goes into service, or answers some
    users, unless something else went into service since it was compared.

    Args:
        run: The name of the run, or the beginning of its id; without it, the only one that waits.
        refuse: Leave what is in service.
        comment: Kept with the decision, as your user name is.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from core.logs.audit import audited, local_user
    from flows.platform.approvals import answer_run

    layout, said = Layout(settings.work_dir, settings.shop), "refused" if refuse else "approved"
    with audited(layout.audit, "approve", answer=said) as details:
        by = local_user().removeprefix("user:")
        waiting = answer_run(settings, run, approve=not refuse, comment=comment, by=by)
        details.update(run=waiting.run, digest=waiting.digest)
    show(f"{said}: bundle {waiting.digest} of run {waiting.run}, which goes on; see sommelier timeline --kind gate")


def evaluate(bundle: str = "", /, *, as_json: AsJson = False, chosen: Chosen = NOT_CHOSEN) -> None:
    """Show the evaluation of a bundle, as its manifest keeps it: the metrics of every model on the test window.

    Those of a bundle that was fitted again on everything are those of the one that was judged in its place.

    Args:
        bundle: A folder, a promoted version, or the beginning of the digest of one or of a candidate; without it, the
            one in service.
    """
    settings = chosen.enter()
    from core.layout import Layout
    from flows.promotion.bundles import find_bundle, read_metrics
    from flows.promotion.refits import describe_refit
    from flows.reporting.artifacts import metric_rows

    manifest = read_metrics(find_bundle(Layout(settings.work_dir, settings.shop), bundle))
    if as_json:
        print_json(manifest.metrics)
        return
    show(f"bundle {manifest.digest}, {manifest.kind}, shop {manifest.shop}, events from {manifest.data.test_at}")
    if refit := describe_refit(manifest):
        show(refit)
    print_rows(metric_rows(manifest.metrics, manifest.recipe.evaluation.k), as_json=False)
