"""A step of a flow, said in one place: its name, the settings that it reads, its inputs, its function, its output.

The Prefect task, the key of its result and the folder of its output are made from that.

```
@step("fine-tune-writer", at=component("writer"), reads=("writer", "augmentation", "seed"))
def fine_tune_writer(step: StepContext, training: Output[TrainingSummary]) -> bool: ...

writer = fine_tune_writer(run, training=training)  # Output: folder, key, value
```
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from inspect import getsource, signature
from pathlib import Path
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, cast

from prefect import get_run_logger
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import Task
from pydantic import BaseModel

from core.errors import SommelierError
from core.layout import Layout
from core.settings.features import FeatureStoreSettings
from core.settings.tree import Recipe
from core.storage import digest_of
from flows.errors import DataChanged, DiskFull
from flows.in_use import note_used
from flows.pruning import mark_used, require_room, result_file, saying_full
from flows.reporting.measurement import measured
from flows.reporting.traces import step_span
from flows.steps.run import Run
from flows.steps.versions import code_version, library_versions
from recommender.fitting.context import FitContext
from recommender.fitting.warm_start import WarmStart

P = ParamSpec("P")
R = TypeVar("R")
# From the shop's layout, the step's key and its inputs to the file or folder that the step writes.
Where = Callable[[Layout, str, Mapping[str, Any]], Path]
# Torch's threads in every fit: with the seed they decide every bit of the weights.
THREADS = 2
# Of a bundle whose weights a fit starts from: its digest, how far it learned, the share of an epoch that is older.
Start = tuple[str, str, float]
WHOLE_RECIPE = ("*",)
_CONTEXT = "step"
# Of a step that is run again with the same inputs, these come again.
_LASTING = (
    DataChanged, DiskFull, MemoryError, TypeError, ValueError, AssertionError, AttributeError, LookupError,
    NameError, ImportError, ArithmeticError, NotImplementedError, RecursionError,
)  # fmt: skip
# Memory: torch's, DuckDB's, Arrow's; and a step past its limit.
_LASTING_NAMES = ("OutOfMemoryError", "OutOfMemoryException", "ArrowMemoryError", "TaskRunTimeoutError")
_RETRIES: dict[str, Any] = {"retries": 2, "retry_delay_seconds": [1, 5]}


@dataclass(frozen=True)
class Output(Generic[R]):
    """What a step left.

    Attributes:
        folder: Where it lies.
        key: Of everything that decided it; the keys of what is made of it depend on this one.
        value: What the step's function returned: small records of paths and counts.
    """

    folder: Path
    key: str
    value: R


class StepContext:
    """What a step's function is given beside its inputs.

    Args:
        name: The step's.
        run: The flow run.
        reads: Dotted names of the settings of the recipe that the step reads.
        computes: Whether it computes with models.
    """

    def __init__(self, name: str, run: Run, reads: tuple[str, ...], computes: bool = False) -> None:
        self.name, self.run, self._reads, self.computes = name, run, reads, computes
        self.title = f"{name} (refit)" if run.is_refit else name
        self.layout: Layout = run.layout
        self.stores: FeatureStoreSettings = run.stores
        self.min_free_bytes = run.platform.min_free_bytes
        self.settings = {path: setting_of(run.recipe, path) for path in reads}
        # Typed as what it is a part of: reading another setting is an error, as the key would not know of it.
        self.recipe = run.recipe if reads == WHOLE_RECIPE else cast(Recipe, _Readable(run.recipe, reads, name))
        self.key = ""
        self.target = Path()
        self.tries = 0  # how often its function was called

    @property
    def device(self) -> str:
        """Where the step's models compute, "cpu" or "cuda"; the key knows of it where the step says that it computes.

        Raises:
            SettingsError: the settings want a GPU, and there is none.
        """
        if not self.computes:
            raise AttributeError(f"step {self.name} computes with models and does not declare it")
        return self.run.device

    def fit(self, training: Path, held: Output[Any] | None = None, start: Output[Start] | None = None) -> FitContext:
        """The surroundings of a fit on this training set; its list length where the step reads `evaluation.k`.

        Args:
            held: The component whose choices are taken over.
            start: The bundle whose weights the fit starts from.
        """
        seed, device = self.recipe.seed, self.device
        models = self.layout.language_models
        fit = FitContext(training, seed, threads=THREADS, progress=self.progress, device=device, models=models)
        if held is not None:
            fit = replace(fit, held=held.folder)
        if start is not None:
            digest, since, replay_share = start.value
            moment = datetime.fromisoformat(since)
            fit = replace(fit, start=WarmStart(start.folder, digest, moment, replay_share))
        if self._reads != WHOLE_RECIPE and "evaluation.k" not in self._reads:
            return fit
        return replace(fit, k=self.recipe.evaluation.k)

    def progress(self, line: str) -> None:
        """Log a line of progress in the flow run."""
        get_run_logger().info(line)


class _Readable:
    """A group of settings of which only some can be read."""

    def __init__(self, group: Any, paths: tuple[str, ...], step: str, prefix: str = "") -> None:
        self._group, self._paths, self._step, self._prefix = group, paths, step, prefix

    def __getattr__(self, name: str) -> Any:
        if name in self._paths:
            return getattr(self._group, name)
        below = tuple(path.removeprefix(f"{name}.") for path in self._paths if path.startswith(f"{name}."))
        if not below:
            raise AttributeError(f"step {self._step} reads recipe.{self._prefix}{name} and does not declare it")
        return _Readable(getattr(self._group, name), below, self._step, f"{self._prefix}{name}.")


@dataclass
class StepKey(CachePolicy):
    """The key of a step's result: its name, settings, inputs and device, our code, the libraries that decide a result.

    Attributes:
        unkeyed: Inputs that change nothing of what comes out.
        source: Of the step's function, which lies outside of the packages that compute.
    """

    unkeyed: frozenset[str] = frozenset()
    source: str = ""

    def compute_key(
        self, task_ctx: TaskRunContext, inputs: dict[str, Any], flow_parameters: dict[str, Any], **kwargs: Any
    ) -> str:
        """Prefect's question: the key of one task run, which names the file of its result."""
        context = inputs[_CONTEXT]
        given = {name: value for name, value in inputs.items() if name != _CONTEXT}
        return result_file(context.layout, self.key(context, given)).name

    def key(self, context: StepContext, inputs: Mapping[str, Any]) -> str:
        """The key of a step with these inputs: 16 hexadecimal digits."""
        given = {name: _plain(name, value) for name, value in inputs.items() if name not in self.unkeyed}
        settings = {name: _plain(name, value) for name, value in context.settings.items()}
        where = (THREADS, context.device) if context.computes else THREADS
        made_by = (self.source, where, code_version(), library_versions())
        return digest_of(context.name, settings, given, *made_by)


def step(
    name: str,
    *,
    at: Where | None = None,
    reads: tuple[str, ...] = (),
    unkeyed: tuple[str, ...] = (),
    computes: bool = False,
) -> Callable[[Callable[Concatenate[StepContext, P], R]], Callable[Concatenate[Run, P], Output[R]]]:
    """Make a step whose result is kept: equal work is done once, also by later runs.

    Args:
        name: Of the task, and of the line that says how long it took.
        at: Where the output lies; a result whose output is gone is made again. None: the returned value is all.
        reads: Dotted names of the settings of the recipe that decide the result; no other can be read.
        unkeyed: Inputs that change nothing of the result.
        computes: Whether it fits or asks models: where they compute decides the last digits of the result.
    """

    def make(body: Callable[Concatenate[StepContext, P], R]) -> Callable[Concatenate[Run, P], Output[R]]:
        policy = StepKey(unkeyed=frozenset(unkeyed), source=getsource(body))
        kept: dict[str, Any] = {"cache_policy": policy, "persist_result": True, "result_serializer": "json"}
        made = _task(body, name, needs_room=True, **kept, **_RETRIES, retry_condition_fn=worth_retrying)

        @wraps(body)
        def call(run: Run, *args: P.args, **named: P.kwargs) -> Output[R]:
            context, inputs = StepContext(name, run, reads, computes), _by_name(body, args, named)
            context.key = policy.key(context, inputs)
            mark_used(result_file(run.layout, context.key))
            is_gone = False
            note_used(*_folders(inputs))
            if at is not None:
                context.target = at(run.layout, context.key, inputs)
                note_used(context.target)
                mark_used(context.target)
                is_gone = not context.target.exists()
            again = made.with_options(
                name=context.title,
                refresh_cache=run.refresh or is_gone,
                timeout_seconds=run.platform.step_timeout_s,
            )
            with step_span(context.title, run.layout.shop, lambda: context.tries, is_kept=True):
                return Output(context.target, context.key, again(context, **inputs))

        return cast("Callable[Concatenate[Run, P], Output[R]]", call)

    return make


def action(
    name: str,
    *,
    reads: tuple[str, ...] = (),
    retries: bool = False,
    needs_room: bool = False,
    computes: bool = False,
) -> Callable[[Callable[Concatenate[StepContext, P], R]], Callable[Concatenate[Run, P], R]]:
    """Make a step that is done every time: it asks or changes what lies outside of its inputs.

    Args:
        name: Of the task, and of the line that says how long it took.
        reads: Dotted names of the settings of the recipe that it reads.
        retries: Whether it is tried again after what may pass by itself, such as a server that does not answer.
        needs_room: Whether it is refused where the disk has less room than the settings keep free.
        computes: Whether it asks models.
    """

    def make(body: Callable[Concatenate[StepContext, P], R]) -> Callable[Concatenate[Run, P], R]:
        again = {**_RETRIES, "retry_condition_fn": _may_pass} if retries else {}
        made = _task(body, name, needs_room=needs_room, cache_policy=NO_CACHE, **again)

        @wraps(body)
        def call(run: Run, *args: P.args, **named: P.kwargs) -> R:
            limited = made.with_options(timeout_seconds=run.platform.step_timeout_s)
            context = StepContext(name, run, reads, computes)
            with step_span(context.title, run.layout.shop, lambda: context.tries, is_kept=False):
                result: R = limited(context, **_by_name(body, args, named))
            return result

        return cast("Callable[Concatenate[Run, P], R]", call)

    return make


def worth_retrying(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Retry a step for what may pass by itself; an error that tells the user what to do will not."""
    return _may_pass(task, run, state) and not isinstance(state.result(raise_on_failure=False), SommelierError)


def _may_pass(task: Task[Any, Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another try can end otherwise: not after a bug, for lack of memory or room, or past the time limit."""
    error = state.result(raise_on_failure=False)
    if isinstance(error, _LASTING) or type(error).__name__ in _LASTING_NAMES:
        return False
    if isinstance(error, OSError):
        return error.errno not in (errno.ENOSPC, errno.EDQUOT)
    # Torch on the CPU says it in words.
    return not (isinstance(error, RuntimeError) and re.search("not enough memory|out of memory", str(error)))


def _task(body: Callable[..., Any], name: str, *, needs_room: bool, **options: Any) -> Task[Any, Any]:
    @wraps(body)
    def measured_body(step: StepContext, **inputs: Any) -> Any:
        step.tries += 1
        with saying_full(step.layout.root):
            if needs_room:
                require_room(step.layout, step.min_free_bytes)
            with step.run.holding_data(), measured(step.title):
                return body(step, **inputs)

    return Task(measured_body, name=name, **options)


def _by_name(body: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """A step's inputs by their names, its defaults among them."""
    given = signature(body).bind(None, *args, **named)
    given.apply_defaults()
    return {name: value for name, value in given.arguments.items() if name != _CONTEXT}


def _folders(inputs: Mapping[str, Any]) -> Iterator[Path]:
    """Where the outputs lie that a step is given."""
    for value in inputs.values():
        if isinstance(value, Output):
            yield value.folder
        elif isinstance(value, Mapping):
            yield from _folders(value)


def setting_of(recipe: Recipe, path: str) -> Any:
    if path == WHOLE_RECIPE[0]:
        return recipe
    value: Any = recipe
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _plain(name: str, value: Any) -> Any:
    """What stands for an input in a key."""
    if isinstance(value, Output):
        return value.key
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {key: _plain(name, one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(name, one) for one in value]
    if isinstance(value, Path) or callable(value):
        raise TypeError(
            f"input {name}: a path or a function does not say what it holds: pass a digest, or declare it unkeyed"
        )
    return value
