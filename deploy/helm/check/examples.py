"""Every file of ci/ renders to the same objects under both Helms, which fit Kubernetes' schemas and Pod Security's strictest level."""

import re
import shlex
import tarfile
import tempfile
from pathlib import Path

import kubernetes_validate

from helm import CHART, HELMS, ROOT, by_key, example_values, notes, pods, render, run

KUBERNETES = [f"1.{minor}" for minor in range(30, 38)]
# Kinds that others define; their schemas are not at hand here.
FOREIGN = {"ServiceMonitor", "PrometheusRule", "ScaledObject", "HTTPRoute", "KafkaUser"}


def lint() -> str:
    for helm in HELMS:
        for values in example_values():
            run(helm, "lint", "--strict", str(CHART), "--values", str(values))
    return f"{len(example_values())} value files with {' and '.join(HELMS)}"


def same_objects() -> str:
    count = 0
    for values in example_values():
        one, other = (render(helm, [values]) for helm in HELMS)
        keys = [(item["kind"], item["metadata"]["name"]) for item in one]
        assert len(keys) == len(set(keys)), f"{values.name}: two objects with one name: {sorted(keys)}"
        assert by_key(one) == by_key(other), f"{values.name}: Helm 3 and 4 render different objects"
        count += len(one)
    return f"{count} objects"


def schemas() -> str:
    checked, foreign = 0, set()
    for values in example_values():
        for item in render("helm3", [values]):
            if item["kind"] in FOREIGN:
                foreign.add(item["kind"])
                continue
            for version in KUBERNETES:
                kubernetes_validate.validate(item, version, strict=True)
                checked += 1
    return f"{checked} checks, Kubernetes {KUBERNETES[0]} to {KUBERNETES[-1]}; without a schema here: {', '.join(sorted(foreign))}"


def packs() -> str:
    """A packed chart brings the alerts along, which lie elsewhere in the repository, and renders as the folder does."""
    for helm in HELMS:
        with tempfile.TemporaryDirectory() as folder:
            run(helm, "package", str(CHART), "--destination", folder)
            [archive] = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as packed:
                alerts = packed.getmember("hookbus/files/alerts.yaml")
                assert alerts.isfile() and alerts.size > 0 and not [n for n in packed.getnames() if "/ci/" in n]
            given = "alerts: { enabled: true }"
            one, other = (render(helm, [CHART / "ci/minimal.yaml"], given=given, chart=chart) for chart in (CHART, archive))
            assert by_key(one) == by_key(other), f"{helm}: the packed chart renders something else"
    return f"with {' and '.join(HELMS)}"


def pod_security() -> str:
    count = 0
    for values in example_values():
        for name, pod in pods(render("helm3", [values])):
            wrong = [f"{name}: {what}" for what in not_restricted(pod)]
            assert not wrong, f"{values.name}: {wrong}"
            count += 1
    return f"{count} pods are `restricted`"


def not_restricted(pod: dict) -> list[str]:
    wrong = []
    security = pod.get("securityContext") or {}
    if security.get("runAsNonRoot") is not True or security.get("runAsUser") == 0:
        wrong.append("may run as root")
    if (security.get("seccompProfile") or {}).get("type") != "RuntimeDefault":
        wrong.append("no seccomp profile")
    wrong += [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    if pod.get("automountServiceAccountToken") is not False or pod.get("enableServiceLinks") is not False:
        wrong.append("has a token or the addresses of services in its environment")
    allowed = {"configMap", "secret", "emptyDir", "projected", "downwardAPI", "csi", "persistentVolumeClaim", "ephemeral"}
    wrong += [f"volume {volume['name']}" for volume in pod.get("volumes", []) if not allowed & set(volume)]
    for container in pod["containers"] + pod.get("initContainers", []):
        own = container.get("securityContext") or {}
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            wrong.append("may gain privileges")
        if own.get("readOnlyRootFilesystem") is not True:
            wrong.append("may write to its root")
        wrong += ["binds a port of its host" for port in container.get("ports", []) if port.get("hostPort")]
        if "memory" not in container["resources"]["limits"] or "cpu" in container["resources"]["limits"]:
            wrong.append("no memory limit, or one of CPU")
    return wrong


def ends_in_time() -> str:
    """From SIGTERM to SIGKILL there is time for what the process was told it has."""
    seen = 0
    for values in example_values():
        objects = render("helm3", [values])
        told = [item["data"]["hookbus.toml"] for item in objects if "hookbus.toml" in (item.get("data") or {})]
        grace_ms = int(re.search(r"^grace_ms = (\d+)$", told[0], re.MULTILINE)[1])
        for name, pod in pods(objects):
            if "terminationGracePeriodSeconds" not in pod:
                continue
            delays = [e["value"] for e in pod["containers"][0]["env"] if e["name"] == "HOOKBUS__SHUTDOWN__DELAY_MS"]
            needed = int(delays[0] if delays else 0) + grace_ms
            assert pod["terminationGracePeriodSeconds"] * 1000 >= needed + 10_000, f"{values.name}: {name}"
            seen += 1
    return f"{seen} pods"


def names() -> str:
    """Long names are cut, stay apart, and fit everywhere."""
    minimal = [CHART / "ci/minimal.yaml"]
    longest = "a" * 53
    seen: set[str] = set()
    releases = ["x", "hookbus", longest, longest[:-1] + "b", "team-hookbus-" + "c" * 40]
    for release in releases:
        own = {item["metadata"]["name"] for item in render("helm3", minimal, release=release)}
        assert all(len(name) <= 52 for name in own), f"{release}: {sorted(own, key=len)[-1]}"
        assert not own & seen, f"{release}: {own & seen}"
        seen |= own
        for item in render("helm3", minimal, release=release):
            assert all(len(value) <= 63 for value in item["metadata"]["labels"].values()), release
    return f"{len(seen)} names of {len(releases)} releases"


def references() -> str:
    """Selectors find the pods they mean, and what scales or routes names what exists."""
    count = 0
    for values in example_values():
        objects = render("helm3", [values])
        keyed = by_key(objects)
        labels = {
            item["metadata"]["name"]: item["spec"]["template"]["metadata"]["labels"]
            for item in objects
            if item["kind"] in ("Deployment", "StatefulSet")
        }
        for item in objects:
            spec, kind = item.get("spec") or {}, item["kind"]
            if kind in ("Service", "PodDisruptionBudget"):
                wanted = spec["selector"] if kind == "Service" else spec["selector"]["matchLabels"]
                found = [name for name, own in labels.items() if wanted.items() <= own.items()]
                is_one = item["metadata"]["name"].endswith("-pods") or len(found) == 1
                assert found and is_one, f"{values.name}: {kind} {item['metadata']['name']} selects {found}"
            if "scaleTargetRef" in spec:
                target = (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
                assert "replicas" not in keyed[target]["spec"], f"{values.name}: {target} has replicas and is scaled"
            for service in re.findall(r"'service': \{'name': '([^']+)'", str(item)):
                assert ("Service", service) in keyed, f"{values.name}: no Service {service}"
            count += 1
        assert "kubectl" in notes([values])
    return f"{count} objects"


def one_address() -> str:
    """The gateway's Service serves all of the API: it passes on to the control plane's, which lets it in, also where clients are named."""
    minimal, seen = [CHART / "ci/minimal.yaml"], 0
    cases = [
        ("{}", "http://hooks-hookbus-control:80"),
        ("control: { service: { port: 8443 } }\nnetworkPolicy: { clients: [{ podSelector: {} }] }", "http://hooks-hookbus-control:8443"),
        ("control: { tls: { existingSecret: own } }", None),
        ("gateway: { forwardTo: 'https://control.example' }", "https://control.example"),
        ("gateway: { forwardTo: 'http://control.example:8443' }", "http://control.example:8443"),
        ("gateway: { forwardTo: '' }", None),
    ]
    for given, wanted in cases:
        objects = by_key(render("helm3", minimal, given=given))
        pod = objects[("Deployment", "hooks-hookbus-gateway")]["spec"]["template"]["spec"]
        told = [e["value"] for e in pod["containers"][0]["env"] if e["name"] == "HOOKBUS__GATEWAY__FORWARD_TO"]
        assert told == [wanted] * (wanted is not None), f"{given}: {told}"
        out = objects[("NetworkPolicy", "hooks-hookbus-gateway")]["spec"]["egress"]
        port = {None: 8081, "https://control.example": 443, "http://control.example:8443": 8443}.get(wanted, 8081)
        ways = [rule for rule in out if {"port": port, "protocol": "TCP"} in rule["ports"]]
        assert len(ways) == (wanted is not None), f"{given}: {ways}"
        # Only the control plane of this release has pods that can be named.
        assert all(("podSelector" in str(way.get("to"))) == (port == 8081) for way in ways), f"{given}: {ways}"
        for rule in objects[("NetworkPolicy", "hooks-hookbus-control")]["spec"]["ingress"]:
            if rule["ports"][0]["port"] == 8081 and "from" in rule and wanted:
                assert "gateway" in str(rule["from"]), f"{given}: the gateway may not reach the control plane"
                seen += 1
    assert seen == 1, seen
    return f"{len(cases)} cases"


def gateways_are_counted() -> str:
    """Gateways divide limits by a number that is right: the chart's, or, where something else scales them, their own count."""
    minimal = [CHART / "ci/minimal.yaml"]
    cases = [
        ("{}", "2"),
        ("gateway: { replicas: 5 }", "5"),
        ("gateway: { replicas: 5, autoscaling: { hpa: { enabled: true, maxReplicas: 9 } } }", "0"),
    ]
    for given, wanted in cases:
        pod = by_key(render("helm3", minimal, given=given))[("Deployment", "hooks-hookbus-gateway")]["spec"]["template"]["spec"]
        told = [e["value"] for e in pod["containers"][0]["env"] if e["name"] == "HOOKBUS__GATEWAY__REPLICAS"]
        assert told == [wanted], f"{given}: {told}"
    return f"{len(cases)} cases"


def documented_install() -> str:
    """docs/install.md takes five commands, and what its `helm install` sets is enough."""
    page = (ROOT / "docs/install.md").read_text()
    section = page.split("## Five commands\n")[1].split("\n## ")[0]
    commands = [line.removeprefix("$ ") for line in section.splitlines() if line.startswith("$ ")]
    assert len(commands) == 5, commands
    [install] = [shlex.split(command) for command in commands if command.startswith("helm install ")]
    for helm in HELMS:
        run(helm, "template", install[2], str(ROOT / install[3]), *install[4:])
    named = [word.split("=")[1] for word in install if word.endswith(("hookbus-keys", "hookbus-admin"))]
    assert all(f"create secret generic {name} " in section for name in named) and len(named) == 2, named
    return f"{len(commands)} commands"
