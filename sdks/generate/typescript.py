"""The methods of the Node package, its problem ids and its version."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from document import BY_HAND, PATH_PARAMETER, Operation, pascal, problem_codes, problem_ids, resources, snake

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
    example: dict[str, Any] = {p.argument: "..." for p in operation.of("path") + operation.of("query") if p.required}
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


def problems(ids: list[str], codes: list[str]) -> str:
    """An error per problem id, which is whose, and the codes."""
    lines = [
        "// An error per problem id. Made from the OpenAPI document; changes here are lost.",
        'import { ApiError } from "./errors.js";\n\nexport * from "./errors.js";\n',
        *[f"/** The problem `{name}`. */\nexport class {name} extends ApiError {{}}" for name in ids],
        "\nexport const BY_ID = {",
        *[f"  {name}," for name in ids],
        "};\n\nexport type ProblemId = keyof typeof BY_ID;\n",
        "/** What exactly a problem is, for programs. Those that are known so far: a server that is newer than this package may have others. */",
        "export type Code =",
        *[f"  | {json.dumps(code)}" for code in codes],
        ";\n",
    ]
    return "\n".join(lines)


def node(document: Any, operations: list[Operation], version: str, folder: Path) -> None:
    docs = {tag["name"]: tag.get("description", "") for tag in document.get("tags", [])}
    parts = [
        "// A method per operation of the API. Made from its OpenAPI document; changes here are lost.",
        'import type * as models from "./types.gen.js";',
        'import type { CallOptions, Sender } from "./core.js";',
        *[f'import {{ {base} }} from "./{module}.js";' for base, module in BY_HAND.values()],
        'import type { Pages } from "./pages.js";\n',
    ]
    for name, members in resources(operations).items():
        doc = docs.get(snake(name)) or f"Operations on {snake(name)}."
        parts.append(f"/** {doc} */\nexport class {pascal(name)}")
        begun = f" extends {BY_HAND[name][0]} {{" if name in BY_HAND else " {\n  constructor(private readonly sender: Sender) {}"
        parts[-1] += f"{begun}\n"
        parts += [node_method(operation) + "\n" for operation in members]
        parts.append("}\n")
    names = list(resources(operations))
    parts.append("/** Every operation, by the first part of its id. */\nexport class Operations {")
    parts += [f"  readonly {name}: {pascal(name)};" for name in names]
    parts.append("  constructor(sender: Sender) {")
    parts += [f"    this.{name} = new {pascal(name)}(sender);" for name in names]
    parts.append("  }\n}")
    (folder / "operations.ts").write_text("\n".join(parts) + "\n")
    (folder / "problems.ts").write_text(problems(problem_ids(document), problem_codes(document)))
    (folder / "version.ts").write_text(f'// Follows the version of Hookbus.\nexport const VERSION = "{version}";\n')
