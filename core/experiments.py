"""Experiments on bundles, and the pin: one record beside what is in service, which every worker of the service follows.

```
<BENTOML_HOME>/models/<name>/experiments.json   every experiment that was started, the oldest first; the pin, if any
```
The record names bundles by where they lie, and never copies one. It is replaced atomically, under a lock, by whoever
read the generation before: of two changes at once the second sees the first.

A pin serves one version to everybody. It lasts until it is lifted, until a rollback (the newer word counts), or until
its version is gone, since it learned from somebody who was forgotten. A pin in force, and a rollback since it began,
overrule an experiment: everybody is then answered by the bundle in service.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from core.errors import SommelierError
from core.promotions import Change, Standing, model_folder, read_standing
from core.settings.form import Frozen
from core.storage import exclusively, sync_folder, write_json

RECORD = "experiments.json"
CHAMPION = "champion"  # the variant of everybody whom no other one answers: the bundle in service
MAX_NAME_CHARS = 40
_LOCK = "experiments.lock"
_NAME = re.compile(rf"[a-z0-9]([a-z0-9_-]{{0,{MAX_NAME_CHARS - 2}}}[a-z0-9])?")
_EVERYBODY = 1.0 + 1e-9

Kind = Literal["split", "canary", "shadow"]
# What came of a canary that the loop follows. overtaken: what it was compared with is not in service any more.
Outcome = Literal["promoted", "withdrawn", "overtaken"]
Portion = Annotated[float, Field(gt=0, le=1)]


class ExperimentError(SommelierError):
    """The record of experiments cannot be read, or a change of it is not possible."""


class BundlePlace(Frozen):
    """Where a bundle lies.

    Attributes:
        version: In the model store; empty for a candidate.
        candidate: Its folder below the shop's, for one that was never promoted.
        digest: Of the bundle.
        judged: Digest of the bundle that was judged in its place, before it was fitted again on everything; else empty.
        learned_until: Of the newest event that it learned from; ISO 8601. Kept for when it is gone.
    """

    version: str = ""
    candidate: str = ""
    digest: str
    judged: str = ""
    learned_until: str = ""


class Variant(Frozen):
    """One bundle of an experiment.

    Attributes:
        name: In the log, the metrics and the figures.
        bundle: Where it lies.
        share: Of users, or of the answers that a shadow computes too.
    """

    name: str
    bundle: BundlePlace
    share: Portion


class Growth(Frozen):
    """A canary's share was made larger.

    Attributes:
        at: When, ISO 8601, UTC.
        share: Of the users, since.
        reason: Why, one sentence.
    """

    at: str
    share: Portion
    reason: str = ""


class Experiment(Frozen):
    """One experiment.

    Attributes:
        kind: split and canary answer a share of the users by another bundle, always the same users; shadow computes
            answers that are compared and logged, and never shown.
        variants: Beside the bundle in service, which answers everybody else.
        started_at, stopped_at: ISO 8601, UTC; None while it runs.
        generation: Of the record of what is in service when it began.
        reason, stop_reason: Of whoever started and stopped it.
        followed: Whether the loop started it, and grows and ends it by its figures.
        cause: Of a followed one: the entry of the time line that led to it.
        first_share: Of a followed one, before it grew.
        growths: How it grew since, the oldest first.
        outcome: What came of a followed one; None where it runs, or somebody stopped it by hand.
    """

    name: str
    kind: Kind
    variants: tuple[Variant, ...]
    started_at: str
    generation: int
    stopped_at: str | None = None
    reason: str = ""
    stop_reason: str = ""
    followed: bool = False
    cause: int | None = None
    first_share: Portion | None = None
    growths: tuple[Growth, ...] = ()
    outcome: Outcome | None = None

    @property
    def runs(self) -> bool:
        """Whether nobody has stopped it."""
        return self.stopped_at is None

    @property
    def shares_since(self) -> str:
        """Since when each user is answered by whom they are now: figures of before would mix two drawings."""
        return self.growths[-1].at if self.growths else self.started_at


class Pin(Frozen):
    """A version that everybody is answered by, whatever is promoted.

    Attributes:
        at: When it was pinned, ISO 8601, UTC.
        generation: Of the record of what is in service at that time.
        reason: Of whoever pinned it.
    """

    version: str
    digest: str
    at: str
    generation: int
    reason: str = ""


class Experiments(Frozen):
    """The record, as one read has it.

    Attributes:
        generation: Counts the changes.
        experiments: The oldest first.
        pin: The last one that was not lifted.
    """

    generation: int = 0
    experiments: tuple[Experiment, ...] = ()
    pin: Pin | None = None

    @property
    def running(self) -> tuple[Experiment, ...]:
        """Those that nobody has stopped."""
        return tuple(one for one in self.experiments if one.runs)

    @property
    def followed(self) -> Experiment | None:
        """The newest canary that the loop started, whatever became of it."""
        return next((one for one in reversed(self.experiments) if one.followed), None)

    @property
    def withdrawn(self) -> frozenset[str]:
        """Digests of the bundles that the loop withdrew as canaries, and of those that were judged in their place."""
        gone = [one for one in self.experiments if one.outcome == "withdrawn"]
        places = [variant.bundle for one in gone for variant in one.variants]
        return frozenset(digest for place in places for digest in (place.digest, place.judged) if digest)

    def find(self, name: str) -> Experiment | None:
        """The newest experiment of a name."""
        return next((one for one in reversed(self.experiments) if one.name == name), None)

    def pin_in_force(self, standing: Standing) -> Pin | None:
        """The pin, unless a rollback came after it, or its version learned from somebody forgotten, and is gone."""
        if self.pin is None or _rolled_back_since(self.pin.generation, standing):
            return None
        if any(one.version == self.pin.version for one in standing.erased):
            return None
        return self.pin

    def overruled(self, experiment: Experiment, standing: Standing) -> str:
        """Why an experiment that runs is not followed, one clause; empty where it is."""
        pin = self.pin_in_force(standing)
        if pin is not None:
            return f"version {pin.version} is pinned"
        back = _rolled_back_since(experiment.generation, standing)
        return f"a rollback at {back[-1].at} put version {back[-1].version} back in service" if back else ""


def read_experiments(name: str) -> Experiments:
    """The experiments and the pin of a model; none where there is no record.

    Raises:
        ExperimentError: the record is there and cannot be read.
    """
    file = model_folder(name) / RECORD
    try:
        return Experiments.model_validate(json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return Experiments()
    except (OSError, ValueError) as error:
        words = f"{error.error_count()} wrong fields" if isinstance(error, ValidationError) else str(error)
        raise ExperimentError(
            "Cannot read the experiments",
            got=f"record={words}",
            expected="JSON as `sommelier experiments` writes it",
            where=str(file),
            do="Put it back from a backup, or remove it: then no experiment runs and nothing is pinned",
        ) from error


def pinned(name: str, standing: Standing) -> str:
    """The version that is pinned, as far as the record can be read; empty where none is."""
    try:
        pin = read_experiments(name).pin_in_force(standing)
    except ExperimentError:
        return ""  # whoever follows experiments says so
    return "" if pin is None else pin.version


def start(name: str, experiment: Experiment, *, generation: int | None = None) -> Experiments:
    """Begin an experiment.

    Args:
        name: The model's name in the store.
        experiment: Running.
        generation: Of the record that was decided on; None takes whatever there is.
    Raises:
        ExperimentError: names, shares or another experiment are in the way, or the record was changed meanwhile.
    """

    def begun(before: Experiments) -> Experiments:
        _check_names(experiment)
        _check_room(experiment, before)
        _check_there(name, [variant.bundle.version for variant in experiment.variants], "start the experiment")
        return before.model_copy(update={"experiments": (*before.experiments, experiment)})

    return _change(name, begun, "start the experiment", generation)


def grow(name: str, which: str, share: float, reason: str = "", *, generation: int | None = None) -> Experiment:
    """Make a canary's share larger; whoever it answers already, it answers still.

    Args:
        name: The model's name in the store.
        which: The experiment's name.
        share: Of the users, larger than before.
        reason: Kept with it.
        generation: See `start`.
    Raises:
        ExperimentError: no canary of this name runs, or its share is not smaller.
    """

    def grown(before: Experiments) -> Experiments:
        found = before.find(which)
        if found is None or not found.runs or found.kind != "canary" or not found.variants[0].share < share <= 1.0:
            running = ", ".join(f"{one.name}:{one.variants[0].share:g}" for one in before.running) or "none"
            raise ExperimentError(
                "Cannot grow the canary",
                got=f"name={which}, share={share:g}",
                expected=f"a canary that runs, and a share above its own, at most 1; what runs: {running}",
                do="See them all: sommelier experiments list",
            )
        wider = (found.variants[0].model_copy(update={"share": share}),)
        growths = (*found.growths, Growth(at=now(), share=share, reason=reason))
        return _replaced(before, found, found.model_copy(update={"variants": wider, "growths": growths}))

    return _found(_change(name, grown, "grow the canary", generation), which)


def stop(
    name: str, which: str, reason: str = "", *, outcome: Outcome | None = None, generation: int | None = None
) -> Experiment:
    """End an experiment that runs.

    Args:
        name: The model's name in the store.
        which: The experiment's name.
        reason: Kept with it.
        outcome: What came of a canary that the loop follows.
        generation: See `start`.
    Raises:
        ExperimentError: no experiment of this name runs.
    """

    def ended(before: Experiments) -> Experiments:
        found = before.find(which)
        if found is None or not found.runs:
            running = ", ".join(one.name for one in before.running) or "none"
            raise ExperimentError(
                "Cannot stop the experiment",
                got=f"name={which}",
                expected=f"one that runs: {running}",
                do="See them all: sommelier experiments list",
            )
        over = found.model_copy(update={"stopped_at": now(), "stop_reason": reason, "outcome": outcome})
        return _replaced(before, found, over)

    return _found(_change(name, ended, "stop the experiment", generation), which)


def set_pin(name: str, pin: Pin | None, *, generation: int | None = None) -> Experiments:
    """Pin a version, or lift the pin.

    Args:
        name: The model's name in the store.
        pin: None lifts it.
        generation: See `start`.
    Raises:
        ExperimentError: the version was pruned meanwhile.
    """

    def pinned(before: Experiments) -> Experiments:
        _check_there(name, [pin.version] if pin else [], "change the pin")
        return before.model_copy(update={"pin": pin})

    return _change(name, pinned, "change the pin", generation)


@contextmanager
def holding(name: str) -> Iterator[Experiments]:
    """The record, which nobody changes within the block.

    Raises:
        ExperimentError: it is there and cannot be read.
    """
    with exclusively(model_folder(name) / _LOCK):
        yield read_experiments(name)


def now() -> str:
    """This moment as records have it: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def place_of(bundle: BundlePlace, name: str, shop_root: Path) -> tuple[str, Path]:
    """A bundle's name in answers, and its folder.

    Args:
        name: The model's name in the store.
        shop_root: The shop's folder, below which candidates lie.
    """
    if bundle.version:
        return f"{name}:{bundle.version}", model_folder(name) / bundle.version
    return f"{name}:candidate-{bundle.digest[:12]}", shop_root / bundle.candidate


def _change(name: str, update: Callable[[Experiments], Experiments], doing: str, generation: int | None) -> Experiments:
    folder = model_folder(name)
    with exclusively(folder / _LOCK):
        before = read_experiments(name)
        if generation is not None and generation != before.generation:
            raise ExperimentError(
                f"Cannot {doing}",
                got=f"generation={before.generation}",
                expected=f"{generation}, as it was decided on",
                where=str(folder / RECORD),
                do="Somebody changed the experiments meanwhile: look at them, and decide again",
            )
        after = update(before).model_copy(update={"generation": before.generation + 1})
        write_json(folder / RECORD, after.model_dump(mode="json"))
        sync_folder(folder)
    return after


def _check_there(name: str, versions: Sequence[str], doing: str) -> None:
    """Make sure, where nobody prunes (see `holding`), that none of some versions was pruned."""
    gone = {one.version for one in read_standing(name).pruned}
    if found := [version for version in versions if version in gone]:
        raise ExperimentError(
            f"Cannot {doing}",
            got=f"version={found[0]}, which was pruned",
            expected="a version whose weights are there",
            do="Choose another: sommelier models list",
        )


def _replaced(before: Experiments, old: Experiment, new: Experiment) -> Experiments:
    return before.model_copy(update={"experiments": tuple(new if one is old else one for one in before.experiments)})


def _found(record: Experiments, which: str) -> Experiment:
    found = record.find(which)
    assert found is not None
    return found


def _check_names(experiment: Experiment) -> None:
    names = [one.name for one in experiment.variants]
    for name in (experiment.name, *names):
        if not _NAME.fullmatch(name) or name == CHAMPION:
            raise ExperimentError(
                "Cannot start the experiment",
                got=f"name={name[:60]!r}",
                expected=f"1 to {MAX_NAME_CHARS} lower-case letters, digits, dashes or underscores, and not {CHAMPION}",
                do="Choose another name",
            )
    total = sum(one.share for one in experiment.variants)
    if not names or len({*names}) < len(names) or total > _EVERYBODY:
        raise ExperimentError(
            "Cannot start the experiment",
            got=f"variants={', '.join(f'{one.name}:{one.share:g}' for one in experiment.variants) or 'none'}",
            expected="one or more, each of its own name, whose shares are 1 together at most",
            do="Give each variant as NAME=BUNDLE:SHARE",
        )


def _check_room(experiment: Experiment, before: Experiments) -> None:
    """One experiment splits the users at a time, and one shadow runs beside it."""
    for other in before.running:
        same_name = other.name == experiment.name
        if same_name or (other.kind == "shadow") == (experiment.kind == "shadow"):
            raise ExperimentError(
                "Cannot start the experiment",
                got=f"name={experiment.name}, kind={experiment.kind}, beside {other.name} ({other.kind})",
                expected="a name that no running experiment has, one split or canary at a time, and one shadow",
                do=f"Stop the other one: sommelier experiments stop {other.name}",
            )


def _rolled_back_since(generation: int, standing: Standing) -> list[Change]:
    return [change for change in standing.changes[generation:] if change.action == "rolled back"]
