"""References made from the code: every setting of the tree, every endpoint of the service."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.settings.tree import Settings
from serving.api.openapi import describe_api

Schema = Mapping[str, Any]
_BOUNDS = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
_MOST_WIDTH = 60  # characters of a default that stands in a table


def settings_page() -> str:
    """Every setting by group, with its type, its default and what it means."""
    schema = Settings.model_json_schema()
    lines = [
        "# Every setting",
        "",
        "Made from the code. [Settings](settings.md) says where they come from; `sommelier settings` prints yours.",
    ]
    for path, model in _groups(schema, schema["$defs"], ""):
        lines += ["", f"## {path or 'Top'}", "", *_paragraphs(model.get("description", "")), ""]
        lines += ["| setting | values | default | |", "| --- | --- | --- | --- |"]
        for name, field in model.get("properties", {}).items():
            if not _models(field, schema["$defs"]):
                described = _cell(field.get("description", ""))
                lines.append(f"| `{name}` | {_values(field, schema['$defs'])} | {_default(field)} | {described} |")
    return "\n".join(lines) + "\n"


def api_page() -> str:
    """Every endpoint, with what it takes and what it answers."""
    api = describe_api()
    lines = ["# Every endpoint", "", "Made from the service's OpenAPI document, which it serves at `/docs.json`.", ""]
    lines += ["[Service](service.md) explains them.", ""]
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            if operation.get("deprecated"):
                continue
            lines += [f"## {method.upper()} {path}", "", f"**{operation['summary']}.** {operation['description']}", ""]
            if body := operation.get("requestBody"):
                lines += _fields(api, body["content"]["application/json"]["schema"])
            statuses = [
                f"| {status} | {_cell(answer['description'])} |" for status, answer in operation["responses"].items()
            ]
            lines += ["| status | |", "| --- | --- |", *statuses, ""]
    return "\n".join(lines) + "\n"


def _fields(api: Schema, schema: Schema) -> list[str]:
    definitions = api["components"]["schemas"]
    model = _resolved(schema, definitions)
    lines = ["| field | values | default | |", "| --- | --- | --- | --- |"]
    for name, field in model.get("properties", {}).items():
        need = "**needed**" if name in model.get("required", ()) else _default(field)
        lines.append(f"| `{name}` | {_values(field, definitions)} | {need} | {_cell(field.get('description', ''))} |")
    return [*lines, ""] if model.get("properties") else []


def _groups(model: Schema, definitions: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """A group, then those within it, with the path of each; of a choice between several, each by its kind."""
    yield path, model
    for name, field in model.get("properties", {}).items():
        within = _models(field, definitions)
        for one in within:
            kind = one["properties"].get("kind", {}).get("const") if len(within) > 1 else None
            here = f"{path}.{name}".lstrip(".")
            yield from _groups(one, definitions, f"{here} (kind = {kind})" if kind else here)


def _models(field: Schema, definitions: Schema) -> list[Schema]:
    """The groups of settings that a field holds; none where it holds a value."""
    options = [field, *field.get("anyOf", ()), *field.get("oneOf", ()), *field.get("allOf", ())]
    found = [_resolved(option, definitions) for option in options if "$ref" in option]
    return [model for model in found if model.get("properties")]


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    found: Schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def _values(field: Schema, definitions: Schema) -> str:
    found = _resolved(field, definitions)
    if options := found.get("anyOf") or found.get("oneOf"):
        return " or ".join(dict.fromkeys(_values(option, definitions) for option in options))
    if "const" in found:
        return f"`{found['const']}`"
    if "enum" in found:
        return ", ".join(f"`{value}`" for value in found["enum"])
    named: str = found.get("type", "any")
    kind = {"null": "none", "array": "list", "object": "table"}.get(named, named)
    if kind == "list" and found.get("items"):
        kind = f"list of: {_values(found['items'], definitions)}"
    bounds = [f"{word} {found[name]:g}" for name, word in _BOUNDS.items() if name in found]
    return ", ".join([kind, *bounds])


def _default(field: Schema) -> str:
    if "default" not in field or "const" in field:
        return ""
    written = json.dumps(field["default"], ensure_ascii=False)
    return f"`{written}`" if len(written) <= _MOST_WIDTH else "see `sommelier settings`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _paragraphs(text: str) -> list[str]:
    return text.replace("<", "&lt;").splitlines()
