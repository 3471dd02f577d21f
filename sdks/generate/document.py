"""The OpenAPI document, read: its operations with all that a method needs of them."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH_PARAMETER = re.compile(r"{([^}]+)}")
#: Resources that have methods written by hand beside those of the document: their class, and the module it is in.
BY_HAND = {"jobs": ("WaitingJobs", "jobs")}
HEADER_ARGUMENTS = {
    "If-Match": "if_match",
    "If-None-Match": "if_none_match",
    "Hookbus-Consistency-Token": "consistency_token",
    "Idempotency-Key": "idempotency_key",
}


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

    @property
    def python_argument(self) -> str:
        """As Python's own libraries call what is one of its words: `from_`."""
        return f"{self.argument}_" if keyword.iskeyword(self.argument) else self.argument


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


def problem_codes(document: Any) -> list[str]:
    """Those that are known so far. The document leaves the list open."""
    return sorted(document["components"]["schemas"]["Problem"]["properties"]["code"]["x-extensible-enum"])


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
