"""Texts get into SQL through `core.sql` alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = "core recommender simulation monitoring validation features serving flows cli benchmarks"
SQL = re.compile(
    r"\b(SELECT|FROM|WHERE|CASE|COPY|ATTACH|CREATE|INSERT|UPDATE|DELETE|PRAGMA|SET|temp_directory|instr"
    r"|read_\w+|regexp_\w+|json_\w+|array_\w+|list_\w+)\b"
)
# Constants are written by us, and digits of hexadecimal numbers need no quoting.
UNQUOTED = re.compile(r"_?[A-Z][A-Z0-9_]*|.*\.hex\(\)")


def quoted_by_hand(tree: ast.AST) -> Iterator[str]:
    """Values that stand between quotes in the SQL of an f-string; and quotes that are doubled."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            words = "".join(str(one.value) for one in node.values if isinstance(one, ast.Constant))
            for before, value in zip(node.values, node.values[1:], strict=False):
                if not (isinstance(before, ast.Constant) and isinstance(value, ast.FormattedValue)):
                    continue
                name, text = ast.unparse(value.value), str(before.value)
                if text.endswith(("'", '"')) and SQL.search(words) and not UNQUOTED.fullmatch(name):
                    yield f"line {node.lineno}: {text[-20:]}{{{name}}}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "replace":
            given = [one.value for one in node.args if isinstance(one, ast.Constant)]
            if given in (["'", "''"], ['"', '""']):
                yield f"line {node.lineno}: quotes are doubled"


def modules() -> list[Path]:
    return [file for package in PACKAGES.split() for file in sorted((ROOT / package).rglob("*.py"))]


def test_no_module_quotes_by_hand() -> None:
    allowed = ROOT / "core" / "sql.py"
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in modules() if file != allowed}
    assert len(trees) > 200
    found = {str(file.relative_to(ROOT)): list(quoted_by_hand(tree)) for file, tree in trees.items()}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "code",
    [
        """f"SELECT * FROM read_csv('{path}')\"""",
        """f'SELECT "{column}" FROM rows'""",
        """name.replace("'", "''")""",
    ],
)
def test_what_is_quoted_by_hand_is_found(code: str) -> None:
    assert list(quoted_by_hand(ast.parse(code)))
