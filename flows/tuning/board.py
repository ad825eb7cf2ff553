"""How a search goes, in the Prefect UI while it goes: a table of trials, a bar of progress, and the end of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

if TYPE_CHECKING:
    from recommender.tuning.search import Search, TrialRecord
    from recommender.tuning.trial_evaluation import Gain


def trial_name(number: int) -> str:
    """What a trial is called wherever it is shown."""
    return f"trial-{number:03d}"


def trial_rows(records: Sequence[TrialRecord], k: int) -> list[dict[str, Any]]:
    """One row per trial in the order given; a figure that is not there is empty."""
    return [
        {
            "trial": trial_name(record.number) + (" (as given)" if record.number == 0 else ""),
            f"ndcg_at_{k}": "" if record.ndcg is None else round(record.ndcg, 4),
            "state": record.state,
            "seconds": "" if record.seconds is None else round(record.seconds, 1),
            **record.values,
            "note": record.note,
        }
        for record in records
    ]


def setting_rows(best: TrialRecord, given: TrialRecord, importances: Mapping[str, float]) -> list[dict[str, str]]:
    """One row per searched setting: as given, in the best trial, and its share of the trials' differences."""
    return [
        {
            "setting": path,
            "as given": str(given.values[path]),
            "best": str(value),
            "importance": f"{importances[path]:.0%}" if path in importances else "–",
        }
        for path, value in best.values.items()
    ]


def describe_end(rows: Sequence[Mapping[str, str]], verdict: str, settings: str, command: str) -> str:
    """Markdown: the best settings beside those as given, what they gain, the settings file, and how to use it."""
    lines = ["# Tuned settings", "", verdict, ""]
    lines += [_row(rows[0]), _row(["---", *["---:"] * (len(rows[0]) - 1)])]
    lines += [_row(row.values()) for row in rows]
    return "\n".join([*lines, "", "```toml", settings.rstrip(), "```", "", f"`{command}`"])


def describe_gain(best: TrialRecord, given: TrialRecord, gain: Gain | None, metric: str) -> str:
    """One paragraph: which trial is best, and is its gain more than noise?"""
    if best.number == 0 or gain is None:
        return f"No trial did better than the recipe as given: {metric} {best.ndcg:.4f} on the validation window."
    seeds = f"{gain.n_seeds} seeds" if gain.n_seeds > 1 else "1 seed"
    found = (
        f"{trial_name(best.number)} reached {metric} {best.ndcg:.4f} in the search, "
        f"the recipe as given {given.ndcg:.4f}"
    )
    measured = (
        f"{gain.before:.4f} as given, {gain.after:.4f} tuned: {gain.gain:+.4f}, "
        f"95 % interval {gain.low:+.4f} to {gain.high:+.4f} over {gain.n_queries} queries"
    )
    verdict = "The gain is beyond noise" if gain.is_beyond_noise else "The gain is within noise"
    if gain.confirmed:
        return f"{found}. {verdict}: fitted again under {seeds} that the search did not see, {measured}."
    return f"{found}. {verdict}, by the fits that chose it, which flatter the best of many: {measured}."


class TrialBoard:
    """The artifacts of one flow run; each is made once and then kept up to date.

    Args:
        search: What is shown.
        k: Length of the evaluated list.
    """

    def __init__(self, search: Search, k: int) -> None:
        self._search, self._k = search, k
        self._table: UUID | None = None
        self._progress: UUID | None = None

    def show(self) -> None:
        """Bring both artifacts up to date with the search."""
        records = self._search.records()
        done = sum(record.state != "running" for record in records)
        self._show_table(trial_rows(records, self._k))
        self._show_progress(done, self._search.n_trials)

    def _show_table(self, rows: list[dict[str, Any]]) -> None:
        from prefect.artifacts import create_table_artifact
        from prefect.client.orchestration import get_client
        from prefect.client.schemas.actions import ArtifactUpdate

        if self._table is None:
            description = "Trials of the search, best first; evaluated on the validation window"
            self._table = cast(UUID, create_table_artifact(key="trials", table=rows, description=description))
            return
        with get_client(sync_client=True) as client:
            client.update_artifact(self._table, ArtifactUpdate(data=json.dumps(rows)))

    def _show_progress(self, done: int, n_trials: int) -> None:
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        percent, shown = 100.0 * done / n_trials, f"{done} of {n_trials} trials"
        if self._progress is None:
            made = create_progress_artifact(progress=percent, key="search-progress", description=shown)
            self._progress = cast(UUID, made)
            return
        update_progress_artifact(self._progress, progress=percent, description=shown)


def publish_end(text: str) -> None:
    """Keep the end of a search with the run."""
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(key="tuned-settings", markdown=text, description="The best settings of the search")


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
