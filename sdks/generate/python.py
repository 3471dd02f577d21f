"""The methods of the Python package, its errors and its version."""

from __future__ import annotations

import pprint
import textwrap
from pathlib import Path
from typing import Any

from document import BY_HAND, PATH_PARAMETER, Answer, Operation, pascal, problem_codes, problem_ids, resources, snake

PYTHON_KINDS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "object": "Dict[str, Any]"}


def python_kind(kind: str) -> str:
    return f"List[{PYTHON_KINDS[kind[:-1]]}]" if kind.endswith("s") else PYTHON_KINDS[kind]


def python_answer(answer: Answer) -> str:
    if answer.model:
        return f"models.{answer.model}"
    return PYTHON_KINDS[answer.scalar] if answer.scalar else "None"


def python_doc(operation: Operation) -> str:
    arguments = [f'"{parameter.python_argument}"' for parameter in operation.of("path")]
    if operation.body:
        arguments.append(pprint.pformat(operation.example or {}, width=90, compact=True, sort_dicts=False))
    arguments += [f'{p.python_argument}="..."' for p in operation.of("query") if p.required]
    call = f"client.{snake(operation.resource)}.{snake(operation.verb)}({', '.join(arguments)})"
    text = "\n".join(part for part in (f"{operation.summary}.", "", operation.description) if part is not None).strip()
    told = [f"    {p.python_argument}: {p.description}" for p in operation.of("path") + operation.of("query") if p.description]
    text += "\n\nArguments:\n" + "\n".join(told) if told else ""
    text += "\n\nExample::\n\n" + textwrap.indent(call, "    ")
    return textwrap.indent(f'"""{text}\n"""'.replace("\\", "\\\\"), " " * 8)


def python_method(operation: Operation, asynchronous: bool) -> str:
    positional = [f"{p.python_argument}: str" for p in operation.of("path")]
    if operation.body:
        kind = f"models.{operation.body}" if operation.body != "object" else "Dict[str, Any]"
        positional.append(f"body: {kind}" if operation.body_required else f"body: Optional[{kind}] = None")
    named = [f"{p.python_argument}: {python_kind(p.kind)}" for p in operation.of("query") if p.required]
    named += [f"{p.python_argument}: Optional[{python_kind(p.kind)}] = None" for p in operation.of("query") if not p.required]
    named += [f"{p.python_argument}: Optional[str] = None" for p in operation.of("header")]
    arguments = ["self", *positional, *(["*", *named] if named else [])]
    segments = [
        found[1] if (found := PATH_PARAMETER.fullmatch(segment)) else f'"{segment}"'
        for segment in operation.path.strip("/").split("/")
    ]
    query = "{" + ", ".join(f'"{p.name}": {p.python_argument}' for p in operation.of("query")) + "}"
    headers = "{" + ", ".join(f'"{p.name}": {p.python_argument}' for p in operation.of("header")) + "}"
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
        "from ._core import AsyncResource, Call, Resource, Run, Settings",
        *[f"from .{module} import Async{base}, {base}" for base, module in BY_HAND.values()],
        "from .pages import AsyncPages, Pages\n",
        "if TYPE_CHECKING:\n    from . import models\n",
    ]
    for prefix in ("", "Async"):
        for name, members in resources(operations).items():
            doc = docs.get(snake(name)) or f"Operations on {snake(name)}."
            base = BY_HAND.get(name, ("Resource", ""))[0]
            parts.append(f'\nclass {prefix}{pascal(name)}({prefix}{base}):\n    """{doc}"""\n')
            parts += [python_method(operation, bool(prefix)) + "\n" for operation in members]
    for prefix in ("", "Async"):
        parts.append(f'\nclass {prefix}Operations:\n    """Every operation, by the first part of its id."""\n')
        parts.append("    def _open(self, settings: Settings, run: Run) -> None:")
        parts += [f"        self.{snake(name)} = {prefix}{pascal(name)}(settings, run)" for name in resources(operations)]
    (folder / "operations.py").write_text("\n".join(parts) + "\n")
    errors = ['"""Every error of this package, a class per problem id. Made from the OpenAPI document; changes here are lost."""\n']
    # Said twice, as type checkers take what is only imported for private.
    errors.append("from ._codes import Code as Code\nfrom ._errors import *  # noqa: F403\nfrom ._errors import ApiError as ApiError\n")
    errors += [f'\nclass {name}(ApiError):\n    """The problem `{name}`."""\n' for name in problem_ids(document)]
    errors.append("\nBY_ID = {\n" + "".join(f'    "{name}": {name},\n' for name in problem_ids(document)) + "}")
    (folder / "errors.py").write_text("\n".join(errors) + "\n")
    codes = ['"""What exactly a problem is, for programs. Made from the OpenAPI document; changes here are lost."""\n']
    codes.append("from typing import Literal\n")
    codes.append("Code = Literal[\n" + "".join(f'    "{code}",\n' for code in problem_codes(document)) + "]")
    codes.append('"""The codes that are known so far: a server that is newer than this package may have others."""')
    (folder / "_codes.py").write_text("\n".join(codes) + "\n")
    (folder / "_version.py").write_text(f'"""Follows the version of Hookbus."""\n\n__version__ = "{version}"\n')
