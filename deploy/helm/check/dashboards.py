"""The dashboards: what is committed is what is made, every expression parses, what it names exists, and the chart carries them."""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from alerts import FOREIGN, promtool
from helm import CHART, ROOT, by_key, render

FOLDER = ROOT / "deploy/dashboards"
# What Grafana puts in their place.
VARIABLES = {"$__rate_interval": "5m", "$namespace": "n", "$pod": "p"}


def dashboards() -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def expressions() -> list[tuple[str, str]]:
    """Every expression, by its dashboard and panel."""
    found = []
    for name, dashboard in dashboards().items():
        for panel in dashboard["panels"]:
            found += [(f"{name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
    return found


def in_step() -> str:
    made = subprocess.run([sys.executable, FOLDER / "make.py", "--check"], capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    assert parses("sum (up"), "promtool sees what does not parse"
    return f"{len(dashboards())} dashboards"


def parses(expr: str) -> str | None:
    """What promtool says against an expression."""
    rules = {"groups": [{"name": "panels", "rules": [{"record": "panel:a", "expr": expr}]}]}
    return promtool_says(rules)


def promtool_says(rules: dict) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "panels.yaml"
        path.write_text(yaml.safe_dump(rules))
        checked = subprocess.run([promtool(), "check", "rules", str(path)], capture_output=True, text=True, timeout=60)
        return None if checked.returncode == 0 else checked.stderr


def expressions_parse() -> str:
    rules = []
    for number, (_, expr) in enumerate(expressions()):
        for variable, value in VARIABLES.items():
            expr = expr.replace(variable, value)
        assert "$" not in expr, expr
        rules.append({"record": f"panel:number_{number}", "expr": expr})
    said = promtool_says({"groups": [{"name": "panels", "rules": rules}]})
    assert said is None, said
    return f"{len(rules)} expressions"


def names_exist() -> str:
    page = (ROOT / "docs/metrics.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \|", page, re.MULTILINE)
    known = {name: {label.strip() for label in labels.split(",")} for name, _, labels in rows}
    for name, kind, labels in rows:
        if kind == "histogram":
            known[f"{name}_bucket"] = known[name]
    used = set()
    for place, expr in expressions():
        names = set(re.findall(r"\b((?:hookbus|process|kube)_\w+)\b(?=\{)", expr))
        assert names, f"{place}: {expr}"
        assert names <= known.keys() | FOREIGN, f"{place}: {names - known.keys() - FOREIGN}"
        used |= names
        # What Prometheus adds to whatever it scrapes.
        given = {"pod", "namespace", "le"} | set().union(*(known.get(name, set()) for name in names))
        for labels in re.findall(r"by \(([\w, ]+)\)", expr):
            missing = {label.strip() for label in labels.split(",")} - given
            assert not missing, f"{place}: {missing} is no label of {names}"
    return f"{len(used)} metrics"


def panels_are_explained() -> str:
    count = 0
    for name, dashboard in dashboards().items():
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        assert {"datasource", "namespace", "release", "role"} <= variables, name
        assert "id" not in dashboard, f"{name} has the id of one Grafana"
        places = set()
        for panel in dashboard["panels"]:
            place = f"{name}: {panel['title']}"
            assert panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"], place
            assert panel["datasource"]["uid"] == "${datasource}", place
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert at["x"] + at["w"] <= 24 and not cells & places, f"{place} lies over another"
            places |= cells
            count += 1
    return f"{count} panels"


def chart_carries_them() -> str:
    minimal = [CHART / "ci/minimal.yaml"]
    assert not [item for item in render("helm3", minimal) if "dashboard" in item["metadata"]["name"]]
    given = "dashboards: { enabled: true, labels: { grafana_dashboard: 'yes' }, annotations: { grafana_folder: Hookbus } }"
    for helm in ("helm3", "helm4"):
        objects = by_key(render(helm, minimal, given=given))
        for name, dashboard in dashboards().items():
            found = objects[("ConfigMap", f"hooks-hookbus-dashboard-{name}")]
            assert json.loads(found["data"][f"hookbus-{name}.json"]) == dashboard, name
            assert found["metadata"]["labels"]["grafana_dashboard"] == "yes"
            assert found["metadata"]["annotations"] == {"grafana_folder": "Hookbus"}
    return f"{len(dashboards())} ConfigMaps"
