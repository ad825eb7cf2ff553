"""The options that benchmarks share, each said in one place."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

if TYPE_CHECKING:
    from core.settings.evaluation import BaselineName
    from core.settings.tree import Recipe

SIMULATED = "simulated"


def command(doc: str | None) -> argparse.ArgumentParser:
    """A command whose help is its module's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_source(parser: argparse.ArgumentParser, kind: str = "tables", instead: str = "") -> None:
    """`--data`, `--source`, `--settings` and `--cache`.

    Args:
        kind: The source's kind unless another is asked for.
        instead: What stands in for data that are not given; without it they have to be.
    """
    left_out = f"; without it, {instead}" if instead else ""
    parser.add_argument("--data", type=Path, help=f"the source's file or folder{left_out}")
    parser.add_argument(
        "--source", default=kind, help=f"the kind of source (default: {kind}; {SIMULATED} takes no --data)"
    )
    parser.add_argument(
        "--settings", type=Path, help="in place of both, a settings file such as `sommelier profile` writes"
    )
    parser.add_argument("--cache", type=Path, help="keep clean tables and training sets here, and use them again")
    parser.set_defaults(needs_data=not instead)


def add_fits(parser: argparse.ArgumentParser, n_seeds: int = 3, threads: int = 2) -> None:
    """`--seeds`, `--first-seed` and `--threads`, with their defaults."""
    seeds = f"fit so often, with a seed of its own each (default: {n_seeds})"
    parser.add_argument("--seeds", type=int, default=n_seeds, help=seeds)
    parser.add_argument("--first-seed", type=int, default=0, help="the seeds count up from here (default: 0)")
    parser.add_argument("--threads", type=int, default=threads, help=f"CPU threads of a fit (default: {threads})")


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """`--set`."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="a.b=value", help="a setting of the recipe; may be repeated"
    )


def add_baselines(parser: argparse.ArgumentParser, *left_out: BaselineName) -> None:
    """`--baselines`.

    Args:
        left_out: Those that are fitted only where they are asked for.
    """
    from core.settings.evaluation import BaselineName

    known: tuple[BaselineName, ...] = get_args(BaselineName)
    default = [name for name in known if name not in left_out]

    def names_of(text: str) -> list[BaselineName]:
        names = [name.strip() for name in text.split(",")]
        if not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r} holds others than {','.join(known)}")
        return [name for name in known if name in names]

    told = f"of {','.join(known)}, by commas (default: {','.join(default)})"
    parser.add_argument("--baselines", type=names_of, default=default, metavar="NAMES", help=told)


def add_peer(parser: argparse.ArgumentParser) -> None:
    """`--peer-env`."""
    parser.add_argument(
        "--peer-env", type=Path, help="the peer's virtual environment, made if it does not exist (default: temporary)"
    )


def parse(parser: argparse.ArgumentParser, arguments: list[str] | None) -> argparse.Namespace:
    """Parse the arguments; refuse a source without its data."""
    chosen = parser.parse_args(arguments)
    if getattr(chosen, "needs_data", False) and not has_data(chosen):
        parser.error(f"--data or --settings is required unless --source is {SIMULATED}")
    if getattr(chosen, "settings", None) is not None and chosen.data is not None:
        parser.error("--settings names a source, and --data another: leave one out")
    return chosen


def seeds_of(chosen: argparse.Namespace) -> range:
    """The seeds of `--seeds` and `--first-seed`."""
    return range(chosen.first_seed, chosen.first_seed + chosen.seeds)


def has_data(chosen: argparse.Namespace) -> bool:
    """Whether a source was named."""
    return chosen.data is not None or getattr(chosen, "settings", None) is not None or chosen.source == SIMULATED


def recipe_of(chosen: argparse.Namespace, *defaults: str) -> Recipe:
    """The recipe with the chosen source and settings.

    Args:
        defaults: `a.b=value` of the benchmark's own; `--set` goes before them.
    """
    # Here, so that a peer's process that needs no settings does not spend its time importing them.
    from core.settings.loading import load_settings

    source, file = [], getattr(chosen, "settings", None)
    if file is None and has_data(chosen):
        source.append(f"source.kind={chosen.source}")
        source += [f"source.path={chosen.data.resolve()}"] if chosen.data is not None else []
    given = [*source, *defaults, *getattr(chosen, "set", [])]
    return load_settings(file, overrides=[f"recipe.{one}" for one in given]).recipe
