"""Writes what both SDKs take from the OpenAPI document: a method per operation, an error per problem id, the version.

Models come from generators of others (datamodel-code-generator, @hey-api/openapi-ts); these give no methods that are grouped as
the operation ids are, so the methods are written here, for both languages from one list.

usage: generate.py OPENAPI.json CARGO.toml surface > surface.txt
       generate.py OPENAPI.json CARGO.toml list > operations.json
       generate.py OPENAPI.json CARGO.toml python FOLDER
       generate.py OPENAPI.json CARGO.toml node FOLDER
"""

from __future__ import annotations

import hashlib
import json
import pprint
import re
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH_PARAMETER = re.compile(r"{([^}]+)}")
HEADER_ARGUMENTS = {"If-Match": "if_match", "If-None-Match": "if_none_match", "Hookbus-Consistency-Token": "consistency_token"}


@dataclass(frozen=True)
class Parameter:
    name: str
    place: str
    required: bool
    kind: str
    description: str

    @property
    def argument(self) -> str:
        return HEADER_ARGUMENTS.get(self.name) or re.sub(r"\W", "_", self.name)


@dataclass(frozen=True)
class Answer:
    """What a 2xx holds: nothing, a model, any object, or an array of models or scalars."""

    model: str | None = None
    scalar: str | None = None
    many: bool = False


@dataclass(frozen=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: tuple[Parameter, ...]
    body: str | None
    body_required: bool
    example: Any
    answer: Answer

    @property
    def resource(self) -> str:
        return self.id.split(".")[0]

    @property
    def verb(self) -> str:
        return self.id.split(".")[1]

    def of(self, place: str) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.place == place]


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def pascal(name: str) -> str:
    return name[0].upper() + name[1:]


def resolve(document: Any, node: Any) -> Any:
    while "$ref" in node:
        target = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def reference(schema: Any) -> str | None:
    return schema["$ref"].rsplit("/", 1)[1] if "$ref" in schema else None


def scalar(schema: Any) -> str:
    kinds = schema.get("type", "string")
    kinds = [kinds] if isinstance(kinds, str) else [kind for kind in kinds if kind != "null"]
    if kinds == ["array"]:
        return f"{scalar(schema.get('items', {}))}s"
    return kinds[0] if kinds[0] in ("string", "integer", "number", "boolean") else "string"


def read_answer(document: Any, responses: Any) -> Answer:
    (good,) = [resolve(document, answer) for status, answer in responses.items() if status.startswith("2")]
    schema = good.get("content", {}).get("application/json", {}).get("schema")
    if schema is None:
        return Answer()
    if schema.get("type") == "array":
        model = reference(schema["items"])
        return Answer(model=model, scalar=None if model else scalar(schema["items"]), many=True)
    return Answer(model=reference(schema), scalar=None if "$ref" in schema else "object")


def read_operations(document: Any) -> list[Operation]:
    found = []
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            parameters = []
            for node in [*methods.get("parameters", []), *operation.get("parameters", [])]:
                parameter = resolve(document, node)
                kind = scalar(resolve(document, parameter.get("schema", {})))
                required = bool(parameter.get("required"))
                description = parameter.get("description", "")
                parameters.append(Parameter(parameter["name"], parameter["in"], required, kind, description))
            request = resolve(document, operation.get("requestBody", {}))
            schema = request.get("content", {}).get("application/json", {}).get("schema", {})
            found.append(
                Operation(
                    id=operation["operationId"],
                    method=method.upper(),
                    path=path,
                    summary=operation.get("summary", ""),
                    description=operation.get("description", ""),
                    parameters=tuple(parameters),
                    body=reference(schema) or ("object" if schema else None),
                    body_required=bool(request.get("required")),
                    example=resolve(document, schema).get("example") if schema else None,
                    answer=read_answer(document, operation["responses"]),
                )
            )
    return sorted(found, key=lambda operation: operation.id)


def resources(operations: list[Operation]) -> dict[str, list[Operation]]:
    grouped: dict[str, list[Operation]] = {}
    for operation in operations:
        grouped.setdefault(operation.resource, []).append(operation)
    return grouped


def problem_ids(document: Any) -> list[str]:
    return sorted(document["components"]["schemas"]["Problem"]["properties"]["id"]["enum"])


def version(cargo: Path) -> str:
    found = re.search(r'^version = "([^"]+)"', cargo.read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"{cargo} has no version")
    return found[1]


def listed(operation: Operation) -> dict[str, Any]:
    """What a test needs to call an operation once."""
    required = [p.argument for p in operation.of("query") if p.required]
    body = (operation.example or {}) if operation.body else None
    path = [p.argument for p in operation.of("path")]
    return {"id": operation.id, "path": path, "query": required, "body": body, "many": operation.answer.many}


# --- the surface: what a user of the SDKs sees of the document, without its prose


def shape(schema: Any) -> str:
    """A schema in one line: what decides over types and limits, without descriptions and examples."""
    if not isinstance(schema, dict):
        return json.dumps(schema)
    prose = ("description", "example", "examples", "title")
    kept = {key: value for key, value in schema.items() if key not in prose or isinstance(value, dict)}
    return json.dumps(without_prose(kept), sort_keys=True)


def without_prose(node: Any) -> Any:
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    is_prose = lambda key, value: key in ("description", "title") and isinstance(value, str) or key in ("example", "examples")
    kept = {key: without_prose(value) for key, value in node.items() if not is_prose(key, value)}
    return kept


def surface(document: Any, operations: list[Operation], version: str) -> str:
    lines = [f"version {version}"]
    for operation in operations:
        arguments = [f"{p.place}:{p.name}:{p.kind}{'' if p.required else '?'}" for p in operation.parameters]
        body = f" body={operation.body}{'' if operation.body_required else '?'}" if operation.body else ""
        answer = operation.answer
        told = (answer.model or answer.scalar or "nothing") + ("[]" if answer.many else "")
        lines.append(f"{operation.id}: {operation.method} {operation.path} ({', '.join(arguments)}){body} -> {told}")
    for name, schema in sorted(document["components"]["schemas"].items()):
        properties = schema.get("properties")
        if not properties:
            lines.append(f"{name}: {shape(schema)}")
            continue
        rest = {key: value for key, value in schema.items() if key not in ("properties", "required")}
        lines.append(f"{name}: {shape(rest)}")
        required = schema.get("required", [])
        lines += [f"{name}.{field}{'' if field in required else '?'}: {shape(of)}" for field, of in sorted(properties.items())]
    return "".join(f"{shortened(line)}\n" for line in lines)


def shortened(line: str) -> str:
    """Long lines end in a hash of what is left out: they still change when that does."""
    if len(line) <= 180:
        return line
    return f"{line[:160]}... {hashlib.sha256(line.encode()).hexdigest()[:12]}"


# --- Python

PYTHON_KINDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "Dict[str, Any]"}


def python_kind(kind: str) -> str:
    return f"List[{PYTHON_KINDS[kind[:-1]]}]" if kind.endswith("s") else PYTHON_KINDS[kind]


def python_answer(answer: Answer) -> str:
    if answer.model:
        return f"models.{answer.model}"
    return PYTHON_KINDS[answer.scalar] if answer.scalar else "None"


def python_doc(operation: Operation) -> str:
    arguments = [f'"{parameter.argument}"' for parameter in operation.of("path")]
    if operation.body:
        arguments.append(pprint.pformat(operation.example or {}, width=90, compact=True, sort_dicts=False))
    arguments += [f'{p.argument}="..."' for p in operation.of("query") if p.required]
    call = f"client.{snake(operation.resource)}.{snake(operation.verb)}({', '.join(arguments)})"
    text = "\n".join(part for part in (f"{operation.summary}.", "", operation.description) if part is not None).strip()
    told = [f"    {p.argument}: {p.description}" for p in operation.of("path") + operation.of("query") if p.description]
    text += "\n\nArguments:\n" + "\n".join(told) if told else ""
    text += "\n\nExample::\n\n" + textwrap.indent(call, "    ")
    return textwrap.indent(f'"""{text}\n"""'.replace("\\", "\\\\"), " " * 8)


def python_method(operation: Operation, asynchronous: bool) -> str:
    positional = [f"{p.argument}: str" for p in operation.of("path")]
    if operation.body:
        kind = f"models.{operation.body}" if operation.body != "object" else "Dict[str, Any]"
        positional.append(f"body: {kind}" if operation.body_required else f"body: Optional[{kind}] = None")
    named = [f"{p.argument}: {python_kind(p.kind)}" for p in operation.of("query") if p.required]
    named += [f"{p.argument}: Optional[{python_kind(p.kind)}] = None" for p in operation.of("query") if not p.required]
    named += [f"{p.argument}: Optional[str] = None" for p in operation.of("header")]
    arguments = ["self", *positional, *(["*", *named] if named else [])]
    segments = [
        found[1] if (found := PATH_PARAMETER.fullmatch(segment)) else f'"{segment}"'
        for segment in operation.path.strip("/").split("/")
    ]
    query = "{" + ", ".join(f'"{p.name}": {p.argument}' for p in operation.of("query")) + "}"
    headers = "{" + ", ".join(f'"{p.name}": {p.argument}' for p in operation.of("header")) + "}"
    kind = python_answer(operation.answer)
    parts = [f'"{operation.id}"', f'"{operation.method}"', f"({', '.join(segments)},)", query, headers]
    parts += ["body"] if operation.body else []
    many, prefix = operation.answer.many, "Async" if asynchronous else ""
    told = f"{prefix}Pages[{kind}]" if many else kind
    lines = [
        f"    {'async ' if asynchronous and not many else ''}def {snake(operation.verb)}({', '.join(arguments)}) -> {told}:",
        python_doc(operation),
        f"        call: Call[{kind}] = Call({', '.join(parts)})",
        f"        return {'self._pages' if many else 'await self._send' if asynchronous else 'self._send'}(call)",
    ]
    return "\n".join(lines)


def python(document: Any, operations: list[Operation], version: str, folder: Path) -> None:
    docs = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    lists = any(p.kind.endswith("s") for operation in operations for p in operation.of("query"))
    parts = [
        '"""A method per operation of the API. Made from its OpenAPI document; changes here are lost."""\n',
        "from __future__ import annotations\n",
        f"from typing import TYPE_CHECKING, Any, Dict, {'List, ' if lists else ''}Optional\n",
        "from ._core import AsyncResource, Call, Resource, Run, Settings\nfrom .pages import AsyncPages, Pages\n",
        "if TYPE_CHECKING:\n    from . import models\n",
    ]
    for prefix in ("", "Async"):
        for name, members in resources(operations).items():
            doc = docs.get(snake(name)) or f"Operations on {snake(name)}."
            parts.append(f'\nclass {prefix}{pascal(name)}({prefix}Resource):\n    """{doc}"""\n')
            parts += [python_method(operation, bool(prefix)) + "\n" for operation in members]
    for prefix in ("", "Async"):
        parts.append(f'\nclass {prefix}Operations:\n    """Every operation, by the first part of its id."""\n')
        parts.append("    def _open(self, settings: Settings, run: Run) -> None:")
        parts += [f"        self.{snake(name)} = {prefix}{pascal(name)}(settings, run)" for name in resources(operations)]
    (folder / "operations.py").write_text("\n".join(parts) + "\n")
    errors = ['"""Every error of this package, a class per problem id. Made from the OpenAPI document; changes here are lost."""\n']
    errors.append("from ._errors import *  # noqa: F403\nfrom ._errors import ApiError\n")
    errors += [f'\nclass {name}(ApiError):\n    """The problem `{name}`."""\n' for name in problem_ids(document)]
    errors.append("\nBY_ID = {\n" + "".join(f'    "{name}": {name},\n' for name in problem_ids(document)) + "}")
    (folder / "errors.py").write_text("\n".join(errors) + "\n")
    (folder / "_version.py").write_text(f'"""Follows the version of Hookbus."""\n\n__version__ = "{version}"\n')


# --- TypeScript

NODE_KINDS = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "object": "Record<string, unknown>"}


def node_kind(kind: str) -> str:
    return f"{NODE_KINDS[kind[:-1]]}[]" if kind.endswith("s") else NODE_KINDS[kind]


def node_method(operation: Operation) -> str:
    fields = [(p.argument, "", "string") for p in operation.of("path")]
    fields += [(p.argument, "" if p.required else "?", node_kind(p.kind)) for p in operation.of("query")]
    fields += [(p.argument, "?", "string") for p in operation.of("header")]
    if operation.body:
        kind = f"models.{operation.body}" if operation.body != "object" else "Record<string, unknown>"
        fields.append(("body", "" if operation.body_required else "?", kind))
    optional = all(mark for _, mark, _ in fields)
    shape = "{ " + "; ".join(f"{name}{mark}: {kind}" for name, mark, kind in fields) + " }" if fields else "Record<string, never>"
    segments = [
        f"args.{found[1]}" if (found := PATH_PARAMETER.fullmatch(segment)) else json.dumps(segment)
        for segment in operation.path.strip("/").split("/")
    ]
    query = "{ " + ", ".join(f"{json.dumps(p.name)}: args.{p.argument}" for p in operation.of("query")) + " }"
    headers = "{ " + ", ".join(f"{json.dumps(p.name)}: args.{p.argument}" for p in operation.of("header")) + " }"
    answer = operation.answer
    kind = f"models.{answer.model}" if answer.model else NODE_KINDS[answer.scalar] if answer.scalar else "void"
    example = {p.argument: "..." for p in operation.of("path") + operation.of("query") if p.required}
    if operation.body:
        example["body"] = operation.example or {}
    call = f"client.{operation.resource}.{operation.verb}({json.dumps(example, indent=2) if example else ''})"
    call = f"for await (const item of {call}) console.log(item);" if answer.many else f"await {call};"
    text = f"{operation.summary}.\n\n{operation.description}\n\n@example\n{call}".replace("*/", "*\\/")
    doc = "/**\n" + textwrap.indent(text, " * ", lambda _line: True) + "\n */"
    told = f"Pages<{kind}>" if answer.many else f"Promise<{kind}>"
    lines = [
        textwrap.indent(doc, "  "),
        f"  {operation.verb}(args: {shape}{' = {}' if optional else ''}, options: CallOptions = {{}}): {told} {{",
        f"    return this.sender.{'pages' if answer.many else 'send'}<{kind}>({{",
        f"      operation: {json.dumps(operation.id)}, method: {json.dumps(operation.method)}, path: [{', '.join(segments)}],",
        f"      query: {query}, headers: {headers}{', body: args.body' if operation.body else ''},",
        "    }, options);",
        "  }",
    ]
    return "\n".join(lines)


def node(document: Any, operations: list[Operation], version: str, folder: Path) -> None:
    docs = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    parts = [
        "// A method per operation of the API. Made from its OpenAPI document; changes here are lost.",
        'import type * as models from "./types.gen.js";',
        'import type { CallOptions, Sender } from "./core.js";\nimport type { Pages } from "./pages.js";\n',
    ]
    for name, members in resources(operations).items():
        doc = docs.get(snake(name)) or f"Operations on {snake(name)}."
        parts.append(f"/** {doc} */\nexport class {pascal(name)} {{\n  constructor(private readonly sender: Sender) {{}}\n")
        parts += [node_method(operation) + "\n" for operation in members]
        parts.append("}\n")
    names = list(resources(operations))
    parts.append("/** Every operation, by the first part of its id. */\nexport class Operations {")
    parts += [f"  readonly {name}: {pascal(name)};" for name in names]
    parts.append("  constructor(sender: Sender) {")
    parts += [f"    this.{name} = new {pascal(name)}(sender);" for name in names]
    parts.append("  }\n}")
    (folder / "operations.ts").write_text("\n".join(parts) + "\n")
    ids = " |\n  ".join(json.dumps(name) for name in problem_ids(document))
    problems = f"// Ids of problems. Made from the OpenAPI document; changes here are lost.\nexport type ProblemId =\n  {ids};\n"
    (folder / "problems.ts").write_text(problems)
    (folder / "version.ts").write_text(f'// Follows the version of Hookbus.\nexport const VERSION = "{version}";\n')


def main(arguments: list[str]) -> None:
    if len(arguments) not in (3, 4):
        raise SystemExit(__doc__)
    document = json.loads(Path(arguments[0]).read_text())
    operations = read_operations(document)
    current = version(Path(arguments[1]))
    if arguments[2] == "surface":
        sys.stdout.write(surface(document, operations, current))
    elif arguments[2] == "list":
        json.dump([listed(operation) for operation in operations], sys.stdout)
    elif arguments[2] == "python":
        python(document, operations, current, Path(arguments[3]))
    elif arguments[2] == "node":
        node(document, operations, current, Path(arguments[3]))
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
