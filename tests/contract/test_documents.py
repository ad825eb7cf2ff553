"""What the documents name exists: paths, links, anchors, make targets, settings, sources, endpoints, metrics."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
import yaml
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from core.settings.loading import parse_settings
from core.settings.source import SOURCE_KINDS, Source
from core.settings.tree import Recipe, Settings
from monitoring.answers.replay import NDCG, RANK
from serving.api.endpoints import ENDPOINTS
from serving.http.metrics import Metrics
from serving.web.templates import ASSETS, READ_MORE
from serving.web.templates import PAGES as WEB_PAGES
from tests.contract.documents import (
    ALL,
    CONTRIBUTING,
    DOCS,
    GUIDES,
    PAGES,
    README,
    ROOT,
    anchors,
    code,
    fenced,
    links,
    name_of,
    read,
    tree,
)

PACKAGES = ("core", "recommender", "simulation", "monitoring", "validation", "features", "serving", "flows", "cli")
FOLDERS = (*PACKAGES, "deployments", "benchmarks", "docs", "tests")
_PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(FOLDERS)})/[\w./<>-]*")
_FILE = re.compile(r"(?<![\w./-])(?:[\w-]+\.(?:toml|md|txt|yaml)|Makefile|LICENSE)(?![\w/])")
# Files of the reader's own, which are not in the repository.
_READERS_FILES = {"settings.toml", "orders.toml", "reviews.toml", "clicks.toml", "shop.toml", "tuned.toml"}
_SETTING = re.compile(
    r"(?<![\w./-])((?:recipe|search|serving|platform|feature_store|logs|loop)\.[a-z_0-9]+(?:\.[a-z_0-9]+)*)"
)


def named_paths(text: str) -> set[str]:
    """Paths of the repository in code; of one with a placeholder, what stands before it."""
    found = {path for line in code(text) for path in _PATH.findall(line)}
    found |= {file for line in code(text) if " " not in line for file in _FILE.findall(line)} - _READERS_FILES
    return {path.split("<")[0].rpartition("/")[0] if "<" in path else path.rstrip(".") for path in found}


@pytest.mark.parametrize("document", GUIDES, ids=name_of)
def test_every_path_exists(document):
    assert not {path for path in named_paths(read(document)) if not (ROOT / path).exists()}


def test_the_guides_name_paths():
    assert {"core/settings/source.py", "validation/sources", "pyproject.toml", "tests/unit/"} <= named_paths(
        read(CONTRIBUTING)
    )


@pytest.mark.parametrize("document", ALL, ids=name_of)
def test_every_link_leads_somewhere(document):
    text, broken = read(document), []
    for target in links(text):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and anchor not in anchors(read(file))):
            broken.append(target)
    assert not broken


def test_the_index_lists_every_page():
    listed = {target for target in links(read(DOCS / "index.md")) if "/" not in target}
    assert listed == {page.name for page in PAGES} - {"index.md"}


def test_the_readme_leads_to_the_index():
    assert "docs/index.md" in links(read(README))


def test_the_tree_of_the_readme_has_every_package():
    shown = [path.rstrip("/") for path in tree(read(README))]
    assert len(shown) == len(set(shown))
    assert not [path for path in shown if not (ROOT / path).is_dir()]
    folders = [*PACKAGES, *(folder for name in PACKAGES for folder in sub_packages(name))]
    assert set(folders) <= set(shown)


def sub_packages(package: str) -> Iterator[str]:
    """The folders of a package that hold code, one level down."""
    return (f"{package}/{init.parent.name}" for init in sorted((ROOT / package).glob("*/__init__.py")))


@pytest.mark.parametrize("document", ALL, ids=name_of)
def test_every_make_target_exists(document):
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), flags=re.MULTILINE))
    named = {target for line in code(read(document)) for target in re.findall(r"\bmake ([a-z-]+)", line)}
    assert named <= targets
    if document == README:
        assert {"run", "test"} <= named


def test_every_make_target_is_documented():
    targets = set(re.findall(r"^([a-z-]+):.*## ", read(ROOT / "Makefile"), flags=re.MULTILINE))
    assert {f"make {target}" for target in targets} <= set(code(read(DOCS / "commands.md")))


@pytest.mark.parametrize("document", GUIDES, ids=name_of)
def test_every_setting_exists(document):
    named = {name for line in code(read(document)) for name in _SETTING.findall(line)}
    assert not {name for name in named if not has_setting(Settings, name.split(".")) and not is_module(name)}


def test_a_setting_that_does_not_exist_is_found():
    assert has_setting(Settings, ["recipe", "writer", "model"])
    assert has_setting(Settings, ["recipe", "source", "values", "interactions", "event"])
    assert not has_setting(Settings, ["recipe", "sequence", "widht"])
    assert not is_module("serving.poll_ss")
    assert not has_setting(Settings, ["recipe", "seed", "more"])


def is_module(name: str) -> bool:
    """Whether code imports it: the service's package is called as its group of settings."""
    place = ROOT.joinpath(*name.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()


def has_setting(kind: Any, path: list[str]) -> bool:
    """Whether a setting lies at the path, in any variant of a group that has several."""
    if not path:
        return True
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        field = kind.model_fields.get(path[0])
        return field is not None and has_setting(field.annotation, path[1:])
    if get_origin(kind) is dict:
        return True  # names of the reader's own
    return any(has_setting(part, path) for part in get_args(kind))


def sentences(source: str) -> Iterator[str]:
    """What code says to people: its strings of several words, without docstrings."""
    tree = ast.parse(source)
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in silent and " " in str(node.value).strip():
            yield str(node.value)


def test_messages_name_settings_of_the_recipe_by_their_whole_path():
    """Who copies a name from a message into a settings file or behind `--set` finds it taken."""
    short = re.compile(rf"(?<![\w./'])((?:{'|'.join(Recipe.model_fields)})\.[a-z_0-9]+(?:\.[a-z_0-9]+)*)")
    texts = [(path, read(path)) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    named = [
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts
        if path != ROOT / "core" / "settings" / "search.py" and short.search(text)  # what is searched is of the recipe
        for sentence in sentences(text)
        for name in short.findall(sentence)
        if has_setting(Recipe, name.split("."))
    ]
    assert named == []
    assert short.findall("in such a case gate.undecided=keep keeps it") == ["gate.undecided"]


def test_the_page_of_settings_has_every_group():
    shown = set(re.findall(r"^\| `([^`]+)` \|", read(DOCS / "settings.md"), flags=re.MULTILINE))
    groups = {f"recipe.{name}" for name in Recipe.model_fields} | (Settings.model_fields.keys() - {"recipe"})
    assert shown == groups


@pytest.mark.parametrize("document", GUIDES, ids=name_of)
def test_every_settings_file_that_is_shown_is_taken(document):
    for block in re.findall(r"^```toml\n(.*?)^```$", read(document), flags=re.MULTILINE | re.DOTALL):
        parse_settings(tomllib.loads(block))


def test_the_page_of_sources_names_every_kind():
    variants = get_args(get_args(Source)[0])
    kinds = tuple(get_args(variant)[0].model_fields["kind"].default for variant in variants)
    assert kinds == SOURCE_KINDS
    assert set(kinds) <= set(code(read(DOCS / "sources.md")))


def test_the_page_of_the_service_names_every_endpoint():
    listed = set(
        re.findall(r"^\| `((?:GET|POST|PATCH|DELETE) /[\w/{}]+)` \|", read(DOCS / "service.md"), flags=re.MULTILINE)
    )
    assert listed == {f"{one.method.upper()} {one.path}" for one in ENDPOINTS}


def test_the_page_of_the_pipeline_names_every_deployment():
    topology = yaml.safe_load(read(ROOT / "deployments" / "prefect.yaml"))
    listed = re.findall(r"^\| `([\w-]+)` \|", read(DOCS / "pipeline.md"), flags=re.MULTILINE)
    assert sorted(listed) == sorted(entry["name"] for entry in topology["deployments"])


def test_the_page_of_monitoring_names_every_metric_of_the_service():
    registry = CollectorRegistry()
    Metrics(registry)
    kept = {f"{one.name}_total" if one.type == "counter" else one.name for one in registry.collect()}
    listed = set(re.findall(r"^\| `(sommelier_\w+)` \|", read(DOCS / "monitoring.md"), flags=re.MULTILINE))
    assert listed == kept


def named_signals(text: str) -> set[str]:
    """Signals in the first column of the table; `.x` after `a.b.y` is `a.b.x`."""
    found = set()
    for row in re.findall(r"^\| (`[a-z]+\..+?) \|", text, flags=re.MULTILINE):
        whole = ""
        for name in re.findall(r"`([^`]+)`", row):
            whole = f"{whole.rpartition('.')[0]}{name}" if name.startswith(".") else name
            found.add(whole)
    return found


def test_the_page_of_monitoring_names_every_signal_of_answers_embeddings_and_the_service():
    told = re.compile(r'"((?:predictions|quality|embeddings|service)\.[a-z_]+\.[a-z_]+)"')
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "monitoring").rglob("*.py")]
    known = {name for source in sources for name in told.findall(source)}
    known |= {f"quality.replay.{figure}" for figure in (RANK, NDCG)}
    listed = {one for one in named_signals(read(DOCS / "monitoring.md")) if not one.startswith(("data.", "text."))}
    assert listed == known


def test_the_pages_name_files_and_sections_of_the_documentation_that_are_there():
    assert READ_MORE.keys() == {path for path, _ in WEB_PAGES} | {"item"}
    named = [one for ones in READ_MORE.values() for one in ones]
    named += re.findall(r"<code>(docs/[\w.-]+)</code>, “([^”]+)”", "".join(read(file) for file in ASSETS.glob("*.j2")))
    assert len(named) > len(READ_MORE)
    for file, section in named:
        assert re.search(rf"^#+ {re.escape(section)}$", read(ROOT / file), flags=re.MULTILINE), (file, section)


def test_the_hook_before_a_commit_is_make_lint():
    (repository,) = yaml.safe_load(read(ROOT / ".pre-commit-config.yaml"))["repos"]
    (hook,) = repository["hooks"]
    assert (repository["repo"], hook["entry"], hook["language"]) == ("local", "make lint", "system")


def test_the_change_log_has_the_version_of_the_project():
    version = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["version"]
    headings = re.findall(r"^## (.+)$", read(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert headings[1].split()[0].strip("[]") == version


@pytest.mark.parametrize("document", ALL, ids=name_of)
def test_no_document_is_for_one_machine(document):
    assert not re.search(r"(?<![\w.])/(?:home|work|tmp|root)/", read(document))


def test_every_block_of_code_is_closed():
    for document in ALL:
        fences = re.findall(r"^```", read(document), flags=re.MULTILINE)
        assert len(fences) == 2 * len(fenced(read(document))), name_of(document)
