"""Helm 3 and 4, pinned: renders the chart, or says why not."""

import os
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]
CACHE = ROOT / "var/cache/chart"
CHART = ROOT / "deploy/helm/hookbus"
HELMS = ("helm3", "helm4")
# Kinds that a cluster of our example has beside Kubernetes' own.
APIS = ["keda.sh/v1alpha1", "monitoring.coreos.com/v1", "gateway.networking.k8s.io/v1"]


class Refused(Exception):
    """Helm did not render: its words."""


def example_values() -> list[Path]:
    return sorted((CHART / "ci").glob("*.yaml"))


def run(helm: str, *arguments: str, given: str | None = None) -> str:
    home = CACHE / "home"
    environment = {
        "PATH": os.environ["PATH"],
        "HELM_CACHE_HOME": str(home),
        "HELM_CONFIG_HOME": str(home),
        "HELM_DATA_HOME": str(home),
    }
    ended = subprocess.run(
        [str(CACHE / "bin" / helm), *arguments], input=given, env=environment, capture_output=True, text=True, timeout=60
    )
    if ended.returncode != 0:
        raise Refused(ended.stderr)
    return ended.stdout


def render(
    helm: str,
    values: list[Path],
    *,
    release: str = "hooks",
    given: str | None = None,
    apis: list[str] = APIS,
    chart: Path = CHART,
) -> list[dict]:
    """The objects of a release. `given` are more values, as text."""
    files = [argument for path in values for argument in ("--values", str(path))]
    more = ["--values", "-"] if given is not None else []
    known = [argument for api in apis for argument in ("--api-versions", api)]
    text = run(helm, "template", release, str(chart), "--namespace", "webhooks", *files, *more, *known, given=given)
    return [document for document in yaml.safe_load_all(text) if document]


def notes(values: list[Path]) -> str:
    """What is said after an install. `helm template` leaves it out, so an object of ours carries it here."""
    carrier = """\
apiVersion: v1
kind: ConfigMap
metadata: { name: notes }
data: { notes: {{ include "hookbus.notes" . | toJson }} }
"""
    objects = render("helm3", values, given=yaml.safe_dump({"extraObjects": [carrier]}))
    return by_key(objects)[("ConfigMap", "notes")]["data"]["notes"]


def by_key(objects: list[dict]) -> dict[tuple[str, str], dict]:
    return {(item["kind"], item["metadata"]["name"]): item for item in objects}


def pods(objects: list[dict]) -> list[tuple[str, dict]]:
    """Every pod, by the object that makes it."""
    found = []
    for item in objects:
        name = f"{item['kind']} {item['metadata']['name']}"
        if item["kind"] == "Pod":
            found.append((name, item["spec"]))
        elif "template" in (item.get("spec") or {}):
            found.append((name, item["spec"]["template"]["spec"]))
    return found
