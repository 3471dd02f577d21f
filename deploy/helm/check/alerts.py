"""The alerts: promtool's cases hold, break when a rule is broken, and what a rule names exists."""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from helm import CHART, ROOT, render

ALERTS = ROOT / "deploy/alerts/hookbus.yaml"
TESTS = ROOT / "deploy/alerts/tests.yaml"
# Metrics of others.
FOREIGN = {"kube_pod_container_status_restarts_total", "kube_pod_container_resource_limits", "container_memory_working_set_bytes"}


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def promtool() -> str:
    cached = ROOT / "var/cache/chart/prometheus/usr/bin/promtool"
    found = shutil.which("promtool") or (str(cached) if cached.exists() else None)
    assert found, "promtool is missing: deploy/setup.sh chart"
    return found


def tested(alerts: str, alert: str | None = None) -> bool:
    """Whether promtool's cases hold for these alerts: all of them, or those of one."""
    cases = yaml.safe_load(TESTS.read_text())
    if alert is not None:
        asked = [[test for test in case["alert_rule_test"] if test["alertname"] == alert] for case in cases["tests"]]
        cases["tests"] = [case | {"alert_rule_test": own} for case, own in zip(cases["tests"], asked) if own]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "hookbus.yaml").write_text(alerts)
        (Path(folder) / "tests.yaml").write_text(yaml.safe_dump(cases))
        command = [promtool(), "test", "rules", str(Path(folder) / "tests.yaml")]
        return subprocess.run(command, capture_output=True, timeout=60).returncode == 0


def cases_hold() -> str:
    checked = subprocess.run([promtool(), "check", "rules", str(ALERTS)], capture_output=True, text=True, timeout=60)
    assert checked.returncode == 0, checked.stderr
    assert tested(ALERTS.read_text()), f"promtool test rules {TESTS}"
    return f"{len(rules())} alerts"


def cases_see_every_break() -> str:
    """Each threshold moved, each arm and each second condition taken away: some case must be red."""
    text, broken, unseen = ALERTS.read_text(), 0, []
    for rule in rules():
        for what, expr in breaks(rule["expr"]):
            changed = text.replace(indented(rule["expr"]), indented(expr))
            assert changed != text, rule["alert"]
            if tested(changed, rule["alert"]):
                unseen.append(f"{rule['alert']}: {what}")
            broken += 1
    assert not unseen, f"no case sees these breaks: {unseen}"
    return f"{broken} breaks seen"


def indented(expr: str) -> str:
    return expr.replace("\n", "\n          ")


def breaks(expr: str) -> list[tuple[str, str]]:
    found = []
    for match in re.finditer(r"([0-9.]+)(\s+# threshold)", expr):
        for moved in (float(match[1]) * 1.5 + 0.3, float(match[1]) * 0.5 - 0.3):
            found.append((f"threshold {moved}", expr[: match.start()] + f"{moved:g}" + expr[match.start(2) :]))
    if " == 1" in expr:
        found.append(("0 in place of 1", expr.replace(" == 1", " == 0")))
    arms = re.split(r"\n(?=or )", expr)
    for number, arm in enumerate(arms):
        if len(arms) > 1:
            rest = arms[:number] + arms[number + 1 :]
            found.append((f"without {arm}", re.sub(r"^or ", "", "\n".join(rest))))
    if "\nand " in expr:
        found.append(("without its `and`", expr.split("\nand ")[0]))
    return found


def names_exist() -> str:
    page = (ROOT / "docs/metrics.md").read_text()
    known = set(re.findall(r"^\| `(hookbus_\w+)`", page, re.MULTILINE)) | FOREIGN
    known |= {f"{name}_bucket" for name in re.findall(r"^\| `(hookbus_\w+)` \| histogram", page, re.MULTILINE)}
    runbook = (ROOT / "deploy/runbooks/alerts.md").read_text()
    headings = {heading.lower() for heading in re.findall(r"^## (\w+)$", runbook, re.MULTILINE)}
    own = {rule["alert"].lower() for rule in rules()}
    assert headings == own, f"runbook and alerts differ: {headings ^ own}"
    for rule in rules():
        used = set(re.findall(r"\b((?:hookbus|kube|container)_\w+)\b", rule["expr"]))
        assert used and used <= known, f"{rule['alert']}: {used - known}"
        assert {"severity"} <= set(rule["labels"]) and rule["annotations"]["summary"].endswith("."), rule["alert"]
        assert rule["annotations"]["runbook_url"] == f"deploy/runbooks/alerts.md#{rule['alert'].lower()}", rule["alert"]
    return f"{len(known)} metrics, {len(headings)} pages"


def labels_stay() -> str:
    """No label of a metric is one that the ServiceMonitor gives its targets: Prometheus would rename the metric's, and what stands in
    rules and panels would mean the process."""
    rows = re.findall(r"^\| `(\w+)` \| \w+ \| ([\w, ]*) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE)
    own = {label.strip() for _, labels in rows for label in labels.split(",")} - {""}
    objects = render("helm3", [CHART / "ci/minimal.yaml"], given="serviceMonitor: { enabled: true }")
    [monitor] = [item for item in objects if item["kind"] == "ServiceMonitor"]
    given = {rule["targetLabel"] for at in monitor["spec"]["endpoints"] for rule in at.get("relabelings", []) if "targetLabel" in rule}
    # What Prometheus' operator gives them besides.
    given |= {"job", "instance", "namespace", "service", "endpoint", "pod", "container"}
    assert "role" in own and "component" in given and not own & given, own & given
    return f"{len(own)} labels of metrics, {len(given)} of targets"


def chart_takes_them() -> str:
    """As they are, or with what values say of one of them."""
    minimal = [CHART / "ci/minimal.yaml"]
    plain = rendered(render("helm3", minimal, given="alerts: { enabled: true }"))
    for rule in rules():
        assert plain[rule["alert"]] == rule, rule["alert"]
    given = "alerts: { enabled: true, runbookUrl: 'https://w/', rules: { HookbusGatewayRefuses: { threshold: 0.25, for: 1h, severity: info } } }"
    changed = rendered(render("helm3", minimal, given=given))["HookbusGatewayRefuses"]
    assert re.search(r"> 0\.25 # threshold", changed["expr"]) and changed["for"] == "1h"
    assert changed["labels"] == {"severity": "info"}
    assert changed["annotations"]["runbook_url"] == "https://w/alerts.md#hookbusgatewayrefuses"
    return f"{len(plain)} alerts"


def rendered(objects: list[dict]) -> dict[str, dict]:
    [rule] = [item for item in objects if item["kind"] == "PrometheusRule"]
    return {alert["alert"]: alert for group in rule["spec"]["groups"] for alert in group["rules"]}
