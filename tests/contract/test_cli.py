"""The command line: every command has help with an example, runs on a small work folder, and has its exit code."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import get_args

import pytest
from cyclopts import App

from cli import answers, keys, quarantine, runs
from cli.main import FAILED, NOT_RUNNING, WRONG_USAGE, build_app, main
from core.experiments import RECORD
from core.keys import KEY_SCOPES, create_key, read_keys
from core.logs.audit import begin, read_acts
from core.logs.timeline import Timeline
from core.promotions import model_folder
from core.quarantine.requests import request_readmission
from core.schema import TABLE_NAMES
from core.settings.loading import load_settings
from core.settings.search import SearchMethod
from core.settings.source import SOURCE_KINDS
from core.settings.tree import Recipe
from flows.platform.deployments import read_topology
from flows.promotion.bundles import promote_by_hand
from flows.promotion.experiments import start_experiment
from recommender.bundle.assembly import record_evaluation
from recommender.bundle.manifest import read_manifest
from recommender.inputs.texts import TextStyle, WritingTask
from recommender.writing.decoding import Strategy
from tests.contract.documents import DOCS, GUIDES, code, fenced, read
from tests.integration.conftest import free_port
from tests.integration.serving_shop import SHOP, TinyShop, copy_shop
from tests.unit.cli.quarantined_shop import validate_source, write_source
from tests.unit.flows.promotion.test_approvals import waiting

ROOT = Path(__file__).parents[2]
PARTS = ("prefect", "service", "monitoring", "reports")
FIGURES = {f"{name}_at_10": 0.25 for name in ("recall", "ndcg", "mrr", "map", "precision", "hit_rate")}
METRICS = {"ranking": {"blend": FIGURES}, "intervals": {"blend": {"ndcg_at_10": [0.2, 0.3]}}}

# By words of the command: what the test says after them, and a word of what comes out.
RUNS: dict[str, tuple[str, str]] = {
    "up": ("--once", "the platform of tiny, once"),
    "automations": ("", "automation of tiny"),
    "status": ("", "in service: "),
    "models list": ("", "in service"),
    "models canary": ("{first} --share 0.1", "started: canary, canary: candidate 0.1 ({first})"),
    "models pin": ("{first} --reason 'a freeze'", "pinned: sommelier-tiny:{first}"),
    "models unpin": ("", "nothing is pinned"),
    "promote": ("{bare} --reason 'a try'", "in service: sommelier-tiny:"),
    "rollback": ("{first} --reason complaints", "in service again: sommelier-tiny:{first}"),
    "approve": ("--comment 'as agreed'", "approved: bundle d1 of run calm-owl-1"),
    "evaluate": ("", "ndcg_at_10_interval"),
    "recommend": ("u01 -k 3", "hard cheese"),
    "score": ("u01 tea-1 wine-3", "p_like"),
    "feedback": ("u01 tea-1 --task reason --rating 4 --seed 3", "\n"),
    "similar": ("tea-1 -k 3", "of the tea shelf"),
    "search": ("'hard cheese' --user u01 -k 3", "of the cheese shelf"),
    "popular": ("-k 3", "shelf"),
    "latest": ("-k 3 --user u01", "shelf"),
    "experiments start": ("spring --variant new={bare}:0.5", "started: spring, split: new 0.5"),
    "experiments stop": ("autumn --reason enough", "stopped: autumn"),
    "experiments list": ("", "autumn"),
    "experiments show": ("autumn", "autumn: answers from"),
    "experiments estimate": ("autumn", "No estimate: none of 0 lists explored"),
    "predictions export": ("{folder}/exported", "1 rows in"),
    "quarantine list": ("--table interactions", "timestamp_parses"),
    "quarantine export": ("{folder}/rows.jsonl --rule value_parses", "1 rows in"),
    "quarantine readmit": ("", "2 rows let in"),
    "quarantine revoke": ("", "2 rows taken back"),
    "quarantine withdraw": ("{readmission}", "withdrawn: rows of items by any rule"),
    "keys create": ("'web shop' --scope read --scope events --days 30", "som_"),
    "keys list": ("", "a test"),
    "keys revoke": ("{key}", "revoked: {key}, a test"),
    "timeline": ("--kind alarm -n 5", "data.price.null_share"),
    "lineage": ("answer-1", "tea-1"),
    "audit": ("-n 1000", "an old act"),
    "forget": ("somebody-else --no-retrain", "no data of the person were found"),
    "profile": ("{folder}/source --out {folder}/drafted.toml", "written to"),
    "tune": ("--method random --trials 2", "a search: random, 2"),
    "settings": ("", '"shop": "tiny"'),
    "run": ("rollback --param version={first}", "a run: rollback ['recipe.seed=3', 'version={first}']"),
    "serve-flows": ("{folder}/recipe.json --revision r1", "serving r1"),
    "version": ("", version("sommelier")),
}
WITHOUT_SETTINGS = ("profile", "serve-flows", "version")
MORE = {"run": "--set recipe.seed=3"}


def walk(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[str, App]]:
    """Every command below an app, by its words."""
    for name in app:
        if name.startswith("-"):
            continue
        below = app[name]
        if below.default_command is not None:
            yield " ".join((*words, name)), below
        yield from walk(below, (*words, name))


COMMANDS = dict(walk(build_app()))
TABLES = [
    words
    for words, app in COMMANDS.items()
    if any("--json" in argument.names for argument in app.assemble_argument_collection())
]


@pytest.fixture(scope="module")
def shop(built_shop: Path, tmp_path_factory: pytest.TempPathFactory) -> TinyShop:
    """A shop with two candidates, a feature store and a quarantine; nothing of it runs."""
    folder = tmp_path_factory.mktemp("shop")
    shop = copy_shop(built_shop, folder)
    for bundle in (shop.whole, shop.bare):
        record_evaluation(bundle, METRICS, None)
    validate_source(shop.layout, write_source(folder / "source"), "bad")
    (folder / "recipe.json").write_text(Recipe().model_dump_json())
    create_key(shop.layout.api_keys, "a test", ["read"])
    begin(shop.layout.audit, "an old act", "user:ann")
    record = {"recommendation_id": "answer-1", "role": "shown", "at": "2026-03-01T00:00:00+00:00", "model": "tiny:gone"}
    shown = {"endpoint": "/v1/recommend", "items": ["tea-1"], "scores": [0.5]}
    shop.layout.predictions.mkdir()
    (shop.layout.predictions / "1.jsonl").write_text(json.dumps(record | shown) + "\n")
    Timeline(shop.layout.timeline).add("alarm", "data.price.null_share", "on", "Prices are missing.")
    return shop


@pytest.fixture
def first(shop: TinyShop, environment: None, request: pytest.FixtureRequest) -> str:
    """The version in the store of the bundle without scorer and writer; the whole one is in service.

    An experiment runs where a command is to look at one.
    """
    os.environ["BENTOML_HOME"] = str(shop.layout.work_dir / "bentoml")
    before = promote_by_hand(shop.layout, shop.bare, "")
    promote_by_hand(shop.layout, shop.whole, "")
    (model_folder(shop.layout.model_name) / RECORD).unlink(missing_ok=True)
    words = request.node.callspec.params.get("words", "") if hasattr(request.node, "callspec") else ""
    if words in ("experiments stop", "experiments list", "experiments show", "experiments estimate"):
        kind = "shadow" if words == "experiments estimate" else "split"
        start_experiment(shop.layout, "autumn", kind, {"new": (before.version, 0.5)})
    return before.version


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Commands make the platform's environment that of their process, which here lives on."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would start processes, or talk to Prefect, says what it was asked instead."""
    monkeypatch.setattr(
        "flows.platform.launch.run_platform",
        lambda settings, show, stay, resume: show(
            f"the platform of {settings.shop}, {'kept up' if stay else 'once'}{', resumed' if resume else ''}"
        ),
    )
    monkeypatch.setattr(
        "flows.platform.tune.run_search",
        lambda settings, show: show(f"a search: {settings.search.method}, {settings.search.n_trials}"),
    )
    monkeypatch.setattr(
        "flows.platform.runs.run_flow", lambda settings, flow, changes, show: show(f"a run: {flow} {changes}")
    )
    monkeypatch.setattr("flows.platform.approvals.answer_run", lambda settings, run, **said: waiting())
    monkeypatch.setattr("flows.platform.notifications.apply_on_server", lambda settings: [f"of {settings.shop}"])
    monkeypatch.setattr(
        "flows.platform.deployments.serve_deployments", lambda recipe, revision: sys.stdout.write(f"serving {revision}")
    )


def where(work_dir: Path) -> list[str]:
    """Options of a work folder in which nothing runs."""
    ports = {f"platform.{part}_port": free_port() for part in PARTS}
    chosen = {"work_dir": work_dir, "shop": SHOP, **ports}
    return [word for name, value in chosen.items() for word in ("--set", f"{name}={value}")]


def call(shop: TinyShop, words: str, first: str, *more: str) -> tuple[int, str]:
    """Run a command as `RUNS` has it; its exit code, and what it has to say."""
    said, told = RUNS[words]
    folder = shop.layout.work_dir
    key = read_keys(shop.layout.api_keys).keys[0].id
    filled = {"first": first, "folder": str(folder), "bare": read_manifest(shop.bare).digest, "key": key}
    if "{readmission}" in said:
        filled["readmission"] = request_readmission(shop.layout.to_readmit, "items", None, "a try", "local").id
    options = [] if words in WITHOUT_SETTINGS else where(folder)
    arguments = [*words.split(), *shlex.split(said.format(**filled)), *shlex.split(MORE.get(words, "")), *more]
    return main([*arguments, *options]), told.format(**filled)


def test_every_command_is_run_here():
    assert RUNS.keys() == COMMANDS.keys()


@pytest.mark.parametrize("words", COMMANDS)
def test_help_says_what_a_command_does_and_shows_one_that_works(words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    assert main([*words.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert COMMANDS[words].help.strip().splitlines()[0].endswith(".")
    (example,) = re.findall(r"^Example: sommelier (.+)$", shown, flags=re.MULTILINE)
    assert example.startswith(words)
    run, _, _ = build_app().parse_args(shlex.split(example), print_error=False, exit_on_error=False)
    assert run is COMMANDS[words].default_command


@pytest.mark.parametrize("words", COMMANDS)
def test_every_option_is_explained(words):
    for argument in COMMANDS[words].assemble_argument_collection(parse_docstring=True):
        assert argument.parameter.help or argument.children, f"{words}: {argument.name} is not explained"


@pytest.mark.parametrize("words", RUNS)
def test_every_command_runs_with_prefect_and_the_service_down(shop, first, nothing_starts, words, capsys):
    code, told = call(shop, words, first)
    assert code == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize("words", TABLES)
def test_json_can_be_parsed(shop, first, words, capsys):
    code, _ = call(shop, words, first, "--json")
    assert code == 0
    assert json.loads(capsys.readouterr().out)


def test_what_changes_what_is_served_is_on_record(shop, first, capsys):
    before = len(read_acts(shop.layout.audit))
    changes = ("rollback", "promote", "keys create", "keys revoke", "forget")
    assert [call(shop, words, first)[0] for words in changes] == [0] * len(changes)
    assert call(shop, "evaluate", first)[0] == 0
    acts = read_acts(shop.layout.audit)[before:]
    assert [(act.what, act.outcome) for act in acts] == [(words, "done") for words in changes]
    assert acts[0].details == {"to": first, "version": first}
    assert acts[4].details.keys() == {"receipt"}
    assert "somebody-else" not in shop.layout.audit.read_text()
    assert main(["rollback", "no-such-version", *where(shop.layout.work_dir)]) == FAILED
    assert read_acts(shop.layout.audit)[-1].outcome == "failed: NothingInService"


def test_what_is_exported_is_on_record(shop, first, capsys):
    exports = ("predictions export", "quarantine export")
    assert [call(shop, words, first)[0] for words in exports] == [0, 0]
    acts = read_acts(shop.layout.audit_reads)[-2:]
    assert [(act.what, act.outcome) for act in acts] == [(words, "done") for words in exports]
    assert all(act.details["rows"].isdigit() for act in acts)


def test_every_command_that_prints_a_table_prints_json_too():
    answering = {"recommend", "score", "feedback", "similar", "search", "popular", "latest"}
    assert {*TABLES} == {
        "status",
        "experiments list",
        "experiments show",
        "experiments estimate",
        "models list",
        "evaluate",
        "quarantine list",
        "forget",
        "keys create",
        "keys list",
        "timeline",
        "lineage",
        "audit",
        *answering,
    }


@pytest.mark.parametrize(
    "words",
    ["recommend u01", "score u01 tea-1", "feedback u01 tea-1", "similar tea-1", "search tea", "popular", "latest"],
)
def test_where_neither_a_service_nor_a_bundle_is_there_the_sentence_names_both(words, tmp_path, capsys):
    options = [*where(tmp_path), "--set", "shop=empty"]
    assert main([*words.split(), *options]) == NOT_RUNNING
    said = capsys.readouterr().err
    assert re.search(r"^sommelier: Cannot answer: shop=empty, without a service at http://127\.0\.0\.1:\d+ and", said)
    assert said.count("\n") == 1


@pytest.mark.parametrize("flow", get_args(runs.FlowName))
def test_a_run_without_a_server_says_so_in_one_line(flow, tmp_path, capsys):
    assert main(["run", flow, *where(tmp_path)]) == NOT_RUNNING
    said = capsys.readouterr().err
    assert re.search(rf"^sommelier: Cannot run {flow}: platform.prefect_port=\d+, where no Prefect server", said)
    assert said.count("\n") == 1


def test_an_answer_of_a_loaded_bundle_says_so_aside(shop, first, capsys):
    code, _ = call(shop, "recommend", first, "--json")
    told = capsys.readouterr()
    assert code == 0
    assert len(json.loads(told.out)["items"]) == 3
    assert "no service of shop tiny answers at http://127.0.0.1:" in told.err


@pytest.mark.parametrize(
    "words",
    [
        "evaluate nowhere",
        "promote nowhere",
        "rollback",
        "approve",
        "quarantine list",
        "quarantine withdraw x",
        "forget nobody --lift",
    ],
)
def test_what_the_user_can_act_on_is_one_line_and_code_1(words, tmp_path, capsys):
    assert main([*words.split(), *where(tmp_path), "--set", "shop=empty"]) == FAILED
    told = capsys.readouterr()
    assert told.err.startswith("sommelier: Cannot ")
    assert told.err.count("\n") == 1
    assert told.out == ""


@pytest.mark.parametrize(
    "words",
    [
        "fly",
        "up --fly",
        "up --set",
        "run",
        "run nothing",
        "score u01",
        "recommend -k many",
        "quarantine list --table shelves",
        "tune --method guess",
    ],
)
def test_wrong_usage_is_one_line_and_code_2(words, capsys):
    assert main(words.split()) == WRONG_USAGE
    said = capsys.readouterr().err
    assert said.startswith("sommelier: ")
    assert re.search(r" See: sommelier( [a-z]+)* --help\n$", said)
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", ["settings --set recipe.seed=none", "forget"])
def test_a_wrong_or_missing_value_is_one_line_and_code_2(words, tmp_path, capsys):
    assert main([*words.split(), *where(tmp_path)]) == WRONG_USAGE
    told = capsys.readouterr()
    assert told.err.startswith("sommelier: Cannot ")
    assert told.err.count("\n") == 1


@pytest.mark.parametrize("words", ["", "models", "experiments", "predictions", "quarantine", "keys"])
def test_no_command_shows_the_commands_and_is_wrong_usage(words, capsys):
    assert main(words.split()) == WRONG_USAGE
    assert "Commands" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys):
    assert main(["--version"]) == 0
    assert main(["version"]) == 0
    assert capsys.readouterr().out.split() == [version("sommelier")] * 2


def test_the_choices_are_those_of_the_packages_below():
    assert {*get_args(runs.FlowName)} == {entry["name"] for entry in read_topology()}
    assert get_args(runs.SearchMethod) == get_args(SearchMethod)
    assert get_args(quarantine.Table) == TABLE_NAMES
    assert get_args(keys.Scope) == KEY_SCOPES
    assert get_args(answers.Task) == get_args(WritingTask)
    assert get_args(answers.Style) == get_args(TextStyle)
    assert get_args(answers.Decoding) == get_args(Strategy)


def test_help_names_every_kind_of_source(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["up", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in SOURCE_KINDS)


def test_help_imports_nothing_heavy():
    heavy = ("torch", "transformers", "prefect", "feast", "bentoml", "great_expectations", "duckdb", "pyarrow", "numpy")
    code = f"import sys, cli.main; cli.main.main(['--help']); print(sorted({set(heavy)} & sys.modules.keys()))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("start", [["-m", "cli"], ["-m", "cli.main"]])
def test_the_exit_code_is_that_of_the_process(start):
    process = subprocess.run([sys.executable, *start, "fly"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert process.returncode == WRONG_USAGE
    assert process.stderr.startswith("sommelier: ")


def test_every_command_that_the_documents_name_exists():
    tops = {words.partition(" ")[0] for words in COMMANDS}
    for document in GUIDES:
        lines = "\n".join(code(read(document)))
        named = re.findall(r"^(?:\.venv/bin/)?sommelier ([a-z][a-z-]*)", lines, flags=re.MULTILINE)
        assert {*named} <= tops, document.name


def shown_commands(document: Path) -> Iterator[list[str]]:
    """The words of each command that a document's blocks of code show, and of what `make run` hands on."""
    for line in (line for block in fenced(read(document)) for line in block.replace("\\\n", " ").splitlines()):
        for command in re.findall(r"^(?:\$ )?(?:\.venv/bin/)?sommelier (.+)$", line):
            yield shlex.split(command, comments=True)
        if line.startswith("make run "):
            for given in shlex.split(line, comments=True):
                if given.startswith("ARGS="):
                    yield ["up", *shlex.split(given.removeprefix("ARGS="))]


@pytest.mark.parametrize("document", GUIDES, ids=lambda document: document.name)
def test_commands_that_the_documents_show_are_taken_as_they_stand(document):
    for words in shown_commands(document):
        run, _, _ = build_app().parse_args(words, print_error=False, exit_on_error=False)
        assert run in [app.default_command for app in COMMANDS.values()], words
        load_settings(None, {}, [value for option, value in itertools.pairwise(words) if option == "--set"])


def test_documents_show_commands():
    shown = [" ".join(words) for document in GUIDES for words in shown_commands(document)]
    assert len(shown) > 40
    assert any(one.startswith("up --settings") for one in shown)
    assert any("recipe.gate.undecided=keep" in one for one in shown)


def test_the_page_of_commands_lists_them_all():
    listed = re.findall(
        r"^\| `sommelier ([a-z -]+?)(?: [A-Z\[][^`]*)?` \|", read(DOCS / "commands.md"), flags=re.MULTILINE
    )
    assert {*listed} == COMMANDS.keys()
