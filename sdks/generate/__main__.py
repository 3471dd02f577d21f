"""Writes what both SDKs take from the OpenAPI document: a method per operation, an error per problem id, the codes, the version.

Models come from generators of others (datamodel-code-generator, @hey-api/openapi-ts); these give no methods that are grouped as
the operation ids are, so the methods are written here, for both languages from one list.

usage: python generate OPENAPI.json CARGO.toml surface > surface.txt
       python generate OPENAPI.json CARGO.toml list > operations.json
       python generate OPENAPI.json CARGO.toml python FOLDER
       python generate OPENAPI.json CARGO.toml node FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from document import listed, read_operations, version
from python import python
from surface import surface
from typescript import node


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
