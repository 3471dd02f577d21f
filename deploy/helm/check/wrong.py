"""What wrong values get: the table of wrong.yaml, under both Helms."""

from pathlib import Path

import yaml

from helm import APIS, CHART, HELMS, Refused, render

TABLE = Path(__file__).with_name("wrong.yaml")


def refused() -> str:
    rows = yaml.safe_load(TABLE.read_text())
    wrong = []
    for row in rows:
        for helm in HELMS:
            said = words(helm, row)
            expected = row["says"] if isinstance(row["says"], list) else [row["says"]]
            if said is None:
                wrong.append(f"{helm} renders {row['values']}")
            elif any(part not in said for part in expected):
                wrong.append(f"{helm}, {row['values']}\n    expected: {row['says']}\n    said:     {said}")
            elif row.get("hides", "\0") in said:
                wrong.append(f"{helm}, {row['values']} quotes the secret: {said}")
    assert not wrong, "\n  ".join(["", *wrong])
    return f"{len(rows)} wrong values with {' and '.join(HELMS)}"


def words(helm: str, row: dict) -> str | None:
    """Why these values are refused; none if they are not."""
    try:
        render(helm, [CHART / "ci/minimal.yaml"], given=yaml.safe_dump(row["values"]), apis=row.get("apis", APIS))
    except Refused as refusal:
        return str(refusal)
    return None
