"""What type checkers make of the package: this file is checked, not run."""

from typing import List

from hookbus import Hookbus, errors


def typed(client: Hookbus) -> bool:
    try:
        client.applications.get("a")
    except errors.ApiError as error:
        known: List[errors.Code] = ["idempotency_key_reused", "log_behind"]
        if error.code == "a_code_of_a_newer_server":
            return error.has_code(known[0])
        return error.has_code("no_such_code")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    return False
