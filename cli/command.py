"""The command line: `sommelier up`, `profile`, `tune`, `settings`, `quarantine`."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from core.errors import SommelierError
from core.layout import Layout
from core.schema import TABLE_NAMES
from core.settings.loading import VARIABLE_PREFIX, load_settings
from core.settings.search import SearchMethod
from core.settings.source import SOURCE_KINDS
from core.settings.tree import Settings
from flows.platform.launch import run_platform
from flows.tables import format_table
from recommender.tuning.space import check_space

if TYPE_CHECKING:
    from validation.quarantine.readmission import QuarantinedRow

_KIND_VARIABLES = {f"{VARIABLE_PREFIX}RECIPE__SOURCE", f"{VARIABLE_PREFIX}RECIPE__SOURCE__KIND"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 1 for an error that the user can act on."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SommelierError as error:
        # One line, whatever the message quotes.
        print(f"sommelier: {' '.join(str(error).split())}", file=sys.stderr)
        return 1


def resolve(options: argparse.Namespace) -> Settings:
    """The settings that the command line asks for.

    `--source` and `--data` are short for `recipe.source.kind` and `recipe.source.path`; a shop that is not named is
    called after its data, so that two sources never share features or bundles. Data that come alone are tables.
    """
    overrides = []
    is_alone = options.data and not options.settings and not _KIND_VARIABLES & os.environ.keys()
    if options.source or is_alone:
        overrides.append(f"recipe.source.kind={options.source or 'tables'}")
    if options.data:
        data = Path(options.data).resolve()
        overrides.append(f"recipe.source.path={data}")
        overrides.append(f"shop={shop_name(data)}")
    elif options.source:
        overrides.append(f"shop={options.source}")
    return load_settings(options.settings, os.environ, [*overrides, *options.set])


def shop_name(data: Path) -> str:
    """A shop's name from the name of its data: lower case, without endings."""
    name = re.sub(r"[^a-z0-9._-]+", "-", data.name.lower())
    return re.sub(r"(\.(json|jsonl|ndjson|csv|tsv|txt|parquet|gz|db|sqlite3?))+$", "", name).strip("-._") or "shop"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sommelier", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    up = commands.add_parser("up", help="run the pipeline once and keep the platform up until Ctrl-C")
    up.add_argument("--once", action="store_true", help="stop after the first answer")
    up.set_defaults(run=_up)
    profiled = commands.add_parser(
        "profile", help="look at a folder, a file or a database, and draft the settings for it"
    )
    profiled.add_argument("path", type=Path, help="the data")
    profiled.add_argument("--out", type=Path, help="the settings file to write; NAME.toml here where it is not given")
    profiled.add_argument("--shop", help="the shop's name; that of the data where it is not given")
    profiled.add_argument("--force", action="store_true", help="overwrite a settings file that says something else")
    profiled.set_defaults(run=_profile)
    tuned = commands.add_parser("tune", help="search for better settings of the recipe; goes on where it was stopped")
    tuned.add_argument("--method", choices=get_args(SearchMethod), help="short for --set search.method=...")
    tuned.add_argument("--trials", help="trials in all; short for --set search.n_trials=...")
    tuned.set_defaults(run=_tune)
    shown = commands.add_parser("settings", help="print the resolved settings as JSON")
    shown.set_defaults(run=_settings)
    actions = commands.add_parser("quarantine", help="look at rows that broke a rule, and let them in again")
    quarantine = actions.add_subparsers(required=True, metavar="action")
    listed = quarantine.add_parser("list", help="count them by table and rule")
    exported = quarantine.add_parser("export", help="write them as JSON lines, to be mended")
    exported.add_argument("file", type=Path, help="the file to write")
    readmitted = quarantine.add_parser("readmit", help="let them in again; the next run judges them anew")
    readmitted.add_argument("file", type=Path, nargs="?", help="a mended export; without it, the rows as they are")
    for action, run in ((listed, _list), (exported, _export), (readmitted, _readmit)):
        action.add_argument("--table", choices=TABLE_NAMES, help="only rows of this table")
        action.add_argument("--rule", action="append", default=[], help="only rows that broke this rule")
        action.set_defaults(run=run)
    for command in (up, tuned, shown, listed, exported, readmitted):
        command.add_argument("--settings", type=Path, help="a TOML file")
        command.add_argument("--source", help=f"kind of source: {', '.join(SOURCE_KINDS)}")
        command.add_argument("--data", help="the source's file or folder")
        command.add_argument("--set", action="append", default=[], metavar="a.b=value", help="one setting")
    serve = commands.add_parser("serve", help="serve the deployments of an already running Prefect server")
    serve.add_argument("recipe", type=Path, help="a recipe as JSON")
    serve.add_argument("--revision", default="", help="the deployments' version, to know them from older ones")
    serve.set_defaults(run=_serve)
    return parser


def _up(options: argparse.Namespace) -> int:
    def show(line: str) -> None:
        print(line, flush=True)

    run_platform(_settle(options, show), show, stay=not options.once)
    return 0


def _settle(options: argparse.Namespace, show: Callable[[str], None]) -> Settings:
    """The settings that are given; for data that come without any, those that can be guessed."""
    from flows.platform.own_data import is_unsettled, settle

    if not is_unsettled(options.source, options.data, options.settings, options.set):
        return resolve(options)
    data = Path(options.data).resolve()
    return settle(data, shop_name(data), options.set, os.environ, show)


def _profile(options: argparse.Namespace) -> int:
    from validation.profile.profiling import profile_source
    from validation.profile.report import full_report
    from validation.profile.settings import settings_text, write_settings

    profile = profile_source(options.path)
    shop = options.shop or shop_name(options.path.resolve())
    for line in full_report(profile):
        print(line)
    file = options.out or Path(f"{shop}.toml")
    write_settings(settings_text(profile, shop), file, force=options.force)
    answer = "answer its questions, " if profile.draft.questions else ""
    print(f'written to {file}; {answer}then: make run ARGS="--settings {file}"')
    return 0


def _tune(options: argparse.Namespace) -> int:
    from flows.platform.tune import run_search

    chosen = {"search.method": options.method, "search.n_trials": options.trials}
    options.set = [*(f"{name}={value}" for name, value in chosen.items() if value), *options.set]

    def show(line: str) -> None:
        print(line, flush=True)

    settings = _settle(options, show)
    check_space(settings.recipe, settings.search.space)
    run_search(settings, show)
    return 0


def _settings(options: argparse.Namespace) -> int:
    settings = _settle(options, lambda line: print(line, file=sys.stderr))
    print(settings.model_dump_json(indent=2))
    return 0


def _list(options: argparse.Namespace) -> int:
    from validation.quarantine.readmission import count_by_rule

    for line in format_table(count_by_rule(_select(options))):
        print(line)
    return 0


def _export(options: argparse.Namespace) -> int:
    from validation.quarantine.readmission import export

    rows = _select(options)
    export(rows, options.file)
    print(f"{len(rows)} rows in {options.file}: mend their values, then: sommelier quarantine readmit {options.file}")
    return 0


def _readmit(options: argparse.Namespace) -> int:
    from validation.quarantine.readmission import read_corrections, readmit

    rows = read_corrections(options.file) if options.file else _select(options)
    let_in = readmit(rows, _layout(options).readmitted)
    print(f"{sum(let_in.rows.values())} rows let in; the next run of the pipeline or refresh-features judges them")
    return 0


def _select(options: argparse.Namespace) -> list[QuarantinedRow]:
    from flows.last_validation import require_validation
    from validation.quarantine.readmission import select

    return select(require_validation(_layout(options)).quarantine, options.table, tuple(options.rule))


def _layout(options: argparse.Namespace) -> Layout:
    settings = resolve(options)
    return Layout(settings.work_dir, settings.shop)


def _serve(options: argparse.Namespace) -> int:
    from flows.platform.deployments import serve_deployments

    serve_deployments(options.recipe, options.revision)
    return 0


if __name__ == "__main__":
    sys.exit(main())
