"""What a user of the SDKs sees of the document, without its prose: a line per operation and field."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from document import Operation, problem_codes


def shape(schema: Any) -> str:
    """A schema in one line: what decides over types and limits, without descriptions and examples."""
    return json.dumps(without_prose(schema), sort_keys=True)


def is_prose(key: str, value: Any) -> bool:
    """Whether a keyword of a schema is for people; a field of such a name holds a schema, which is none."""
    return key in ("example", "examples") or (key in ("description", "title") and isinstance(value, str))


def without_prose(node: Any) -> Any:
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: without_prose(value) for key, value in node.items() if not is_prose(key, value)}


def surface(document: Any, operations: list[Operation], version: str) -> str:
    lines = [f"version {version}"]
    for operation in operations:
        arguments = [f"{p.place}:{p.name}:{p.kind}{'' if p.required else '?'}" for p in operation.parameters]
        body = f" body={operation.body}{'' if operation.body_required else '?'}" if operation.body else ""
        answer = operation.answer
        told = (answer.model or answer.scalar or "nothing") + ("[]" if answer.many else "")
        lines.append(f"{operation.id}: {operation.method} {operation.path} ({', '.join(arguments)}){body} -> {told}")
    lines += [f"code {code}" for code in problem_codes(document)]
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
