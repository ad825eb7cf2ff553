"""The whole command line: every command with an example, the exit codes, and how an error is said.

Exit codes: 0 done; 1 an error that the user can act on, in one sentence; 2 wrong usage; 3 a part of the platform that
the command needs does not run; 130 interrupted; 141 whoever read the output left before its end, as `head` does.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version as installed_version

from cyclopts import App, CycloptsError, Parameter

from cli import (
    answers,
    audit,
    experiments,
    keys,
    lineage,
    models,
    platform,
    privacy,
    quarantine,
    runs,
    settings,
    timeline,
)
from core.errors import NotRunning, SommelierError, WrongUsage

DONE, FAILED, WRONG_USAGE, NOT_RUNNING, INTERRUPTED, NOBODY_READS = 0, 1, 2, 3, 130, 141
_EXIT_CODES = (
    "Exit codes: 0 done, 1 an error that the message says how to act on, 2 wrong usage, 3 a part of the platform that "
    "the command needs does not run, 130 interrupted."
)


def version() -> None:
    """Print the version."""
    print(_version())


# By words of the command: what runs, and an example.
_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "up": (platform.up, "sommelier up --data orders.csv"),
    "run": (runs.run, "sommelier run pipeline --param refresh=true"),
    "automations": (
        runs.automations,
        "sommelier automations --set 'loop.notifications.blocks=[\"slack-webhook/ops\"]'",
    ),
    "status": (platform.status, "sommelier status --json"),
    "models list": (models.list_models, "sommelier models list"),
    "models canary": (experiments.canary, "sommelier models canary c6453648b76c --share 0.05"),
    "models pin": (experiments.pin, "sommelier models pin c6453648b76c --reason 'holiday freeze'"),
    "models unpin": (experiments.unpin, "sommelier models unpin"),
    "promote": (models.promote, "sommelier promote c6453648b76c --reason 'better on new items'"),
    "rollback": (models.rollback, "sommelier rollback --reason complaints"),
    "approve": (models.approve, "sommelier approve --comment 'as agreed on Monday'"),
    "evaluate": (models.evaluate, "sommelier evaluate"),
    "recommend": (answers.recommend, "sommelier recommend u10001 -k 5"),
    "score": (answers.score, "sommelier score u10001 i10007 i10042"),
    "feedback": (answers.feedback, "sommelier feedback u10001 i10007 i10042 --task reason"),
    "similar": (answers.similar, "sommelier similar i10007 -k 5"),
    "search": (answers.search, "sommelier search 'light red wine' --user u10001 -k 5"),
    "popular": (answers.popular, "sommelier popular --days 7 -k 5"),
    "latest": (answers.latest, "sommelier latest -k 5"),
    "experiments start": (
        experiments.start,
        "sommelier experiments start spring --variant new=c6453648b76c:0.5 --reason 'longer histories'",
    ),
    "experiments stop": (experiments.stop, "sommelier experiments stop spring --reason 'new is better'"),
    "experiments list": (experiments.list_experiments, "sommelier experiments list"),
    "experiments show": (experiments.show_experiment, "sommelier experiments show spring"),
    "experiments estimate": (experiments.estimate, "sommelier experiments estimate beside --places 2"),
    "predictions export": (experiments.export_predictions, "sommelier predictions export --since 2026-03-01"),
    "quarantine list": (quarantine.list_rules, "sommelier quarantine list --table interactions"),
    "quarantine export": (quarantine.export, "sommelier quarantine export rows.jsonl --rule value_parses"),
    "quarantine readmit": (quarantine.readmit, "sommelier quarantine readmit rows.jsonl"),
    "quarantine revoke": (quarantine.revoke, "sommelier quarantine revoke rows.jsonl"),
    "quarantine withdraw": (quarantine.withdraw, "sommelier quarantine withdraw 0199d2b5-3c1e-7a40-8000-5f0c3c1e7a40"),
    "keys create": (keys.create, "sommelier keys create 'web shop' --scope read --scope events --days 365"),
    "keys list": (keys.list_keys, "sommelier keys list"),
    "keys revoke": (keys.revoke, "sommelier keys revoke 3f9c2d41a07e"),
    "timeline": (timeline.timeline, "sommelier timeline --kind alarm --kind decision"),
    "lineage": (lineage.lineage, "sommelier lineage 019b76da-a800-7000-8000-000000000000"),
    "audit": (audit.audit, "sommelier audit -n 20"),
    "forget": (privacy.forget, "sommelier forget u10001"),
    "profile": (settings.profile, "sommelier profile orders.csv"),
    "tune": (runs.tune, "sommelier tune --method random --trials 20"),
    "settings": (settings.print_settings, "sommelier settings --set recipe.seed=3"),
    "serve-flows": (platform.serve_flows, "sommelier serve-flows recipe.json --revision r1"),
    "version": (version, "sommelier version"),
}
_GROUPS = {
    "models": "Look at the promoted bundles, try one on some users, pin one.",
    "experiments": "Try bundles on a share of the users, and see what they bring.",
    "predictions": "What the service showed to whom.",
    "keys": "API keys of the service: make, list and revoke them.",
    "quarantine": "Look at rows that broke a rule of validation, and let them in again.",
}


def build_app() -> App:
    """The app with every command."""
    app = App(
        name="sommelier",
        help="Validate, fine-tune, serve and monitor recommendations of a shop.",
        help_epilogue=_EXIT_CODES,
        help_format="plaintext",
        version=_version,
        default_parameter=Parameter(negative=(), show_default=False),
    )
    groups: dict[str, App] = {}
    for place, (words, (run, example)) in enumerate(_COMMANDS.items()):
        group, _, name = words.rpartition(" ")
        if group and group not in groups:
            groups[group] = App(name=group, help=_GROUPS[group], help_epilogue="", sort_key=place)
            app.command(groups[group])
        parent = groups[group] if group else app
        parent.command(run, name=name, help_epilogue=f"Example: {example}", sort_key=place)
    return app


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    app = build_app()
    try:
        command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
        command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except CycloptsError as error:
        _say(f"{error} See: {' '.join((app.name[0], *(error.command_chain or ())))} --help")
        return WRONG_USAGE
    except WrongUsage as error:
        _say(str(error))
        return WRONG_USAGE
    except NotRunning as error:
        _say(str(error))
        return NOT_RUNNING
    except SommelierError as error:
        _say(str(error))
        return FAILED
    except BrokenPipeError:
        _let_go_of_output()
        return NOBODY_READS
    except OSError as error:
        _let_go_of_output()
        _say(f"The system refused: {_reason(error)}. Correct that and run the command again; what was done is kept.")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    # Without a command the help is shown, which nobody asked for.
    is_command = any(command is run for run, _ in _COMMANDS.values())
    asked = {*app.help_flags, *app.version_flags} & {*words}
    return DONE if is_command or asked else WRONG_USAGE


def _let_go_of_output() -> None:
    """Write what is still to be written, or nowhere: Python would fail on it once more at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _reason(error: OSError) -> str:
    """The first of those that copying a folder collects, or the only one."""
    return str(error.args[0][0][-1]) if isinstance(error, shutil.Error) else str(error)


def _say(sentence: str) -> None:
    """One line, whatever the message quotes; of the log, where that is no text."""
    from core.logs.lines import logs_as_json

    line = " ".join(sentence.split())
    if logs_as_json():
        logging.getLogger("cli").error(line)
        return
    print(f"sommelier: {line}", file=sys.stderr)


def _version() -> str:
    return installed_version("sommelier")


if __name__ == "__main__":
    sys.exit(main())
