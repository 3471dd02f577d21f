"""What the chart says to the binary: the configuration is accepted, the schema in step, the commands there."""

import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from helm import CHART, ROOT, example_values, notes, pods, render

SCHEMA = CHART / "values.schema.json"
ACLS = CHART / "files/acls.json"
# One for all installations: who reads without a group names this one.
TAIL_GROUP = "hookbus-tail"
BINARY = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug/hookbus"
# A key for each file that a pod finds below /run/hookbus; the others hold any text.
KEY = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CONTENT = {"encryption-keys": f"k1:{KEY}", "lookup-key": KEY, "admin-key": "an-admin-key-for-tests"}
# Keys that the chart sets by itself.
CHART_S = ("kafka.slot", "gateway.replicas", "gateway.forward_to", "shutdown.delay_ms")
ROLES = ("gateway", "fanout", "delivery", "retry", "control")
# Where the chart's values are not the binary's defaults: values.yaml says why.
DIFFERENT = {
    "kafka.brokers",
    "topics.replication_factor",
    "topics.min_insync_replicas",
    "gateway.max_connections",
    "control.max_connections",
    "control.instance_bytes",
}


def hookbus(*arguments: str, environment: dict[str, str] | None = None) -> str:
    ended = subprocess.run([str(BINARY), *arguments], env=environment or {}, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, f"hookbus {' '.join(arguments)}: {ended.stderr}"
    return ended.stdout


def without_secrets(keys: dict) -> None:
    """Takes out what is secret, in sections inside of sections too."""
    for key in [key for key, value in keys.items() if value.get("writeOnly")]:
        del keys[key]
    for value in keys.values():
        without_secrets(value.get("properties", {}))


def configuration_schema() -> dict:
    """The binary's schema without what is the chart's, and without secrets: values become a ConfigMap."""
    schema = json.loads(hookbus("config", "schema"))
    sections = schema["properties"]
    for section in list(sections):
        keys = sections[section]["properties"]
        without_secrets(keys)
        for key in list(keys):
            is_chart_s = key == "listen" or key.startswith("tls_")
            if is_chart_s or f"{section}.{key}" in CHART_S:
                del keys[key]
        if not keys:
            del sections[section]
    # Written without quotes a dotted name would be a table here.
    sections["kafka"]["properties"]["properties"]["additionalProperties"]["type"] = ["string", "number", "boolean"]
    del schema["$schema"], schema["title"]
    return schema


def schema_in_step() -> str:
    committed = json.loads(SCHEMA.read_text())["properties"]["config"]
    assert committed == configuration_schema(), "values.schema.json is old: deploy/helm/check.sh --write"
    return f"{len(committed['properties'])} sections"


def permissions() -> dict[str, list[dict]]:
    """What each role is allowed, with `{prefix}` and `{installation}` for what the topic prefix makes of them."""
    found: dict[str, list[dict]] = {}
    for acl in json.loads(hookbus("acls", "--output", "json")):
        if acl["role"] == "operator":
            continue
        name = acl["name"]
        if acl["resource"] == "topic":
            name = "{prefix}" + name.removeprefix("hookbus.")
        elif name != TAIL_GROUP:
            name = "{installation}" + name.removeprefix("hookbus")
        own = {"resource": acl["resource"], "name": name, "pattern": acl["pattern"], "operations": acl["operations"]}
        found.setdefault(acl["role"], []).append(own)
    return found


def users_are_allowed_what_the_roles_need() -> str:
    """KafkaUsers have exactly the permissions that the binary prints, whatever the prefix."""
    count = 0
    for prefix in ("hookbus.", "team-a-"):
        given = f"strimzi: {{ cluster: main, users: {{ enabled: true }} }}\nconfig: {{ topics: {{ prefix: {prefix} }} }}"
        objects = render("helm3", [CHART / "ci/minimal.yaml"], given=given)
        printed = json.loads(hookbus("acls", "--output", "json", environment={"HOOKBUS__TOPICS__PREFIX": prefix}))
        for user in (item for item in objects if item["kind"] == "KafkaUser"):
            role = user["metadata"]["labels"]["app.kubernetes.io/component"]
            own = [acl for acl in printed if acl["role"] == role]
            names = {"transactional_id": "transactionalId", "prefixed": "prefix"}
            wanted = [
                (names.get(a["resource"], a["resource"]), a["name"], names.get(a["pattern"], a["pattern"]), a["operations"])
                for a in own
            ]
            rendered = [
                (a["resource"]["type"], a["resource"]["name"], a["resource"]["patternType"], a["operations"])
                for a in user["spec"]["authorization"]["acls"]
            ]
            assert wanted and sorted(wanted) == sorted(rendered), f"{role}: deploy/helm/check.sh --write\n{wanted}\n{rendered}"
            count += 1
    assert count == 10, count
    return f"{count} users"


def write() -> None:
    ACLS.write_text(json.dumps(permissions(), indent=2) + "\n")
    schema = json.loads(SCHEMA.read_text())
    schema["properties"]["config"] = configuration_schema()
    SCHEMA.write_text(json.dumps(schema, indent=2) + "\n")


def configuration_accepted() -> str:
    """Each pod's file and environment, as the process would find them, loads; and says what the values said."""
    count = 0
    for values in example_values():
        objects = render("helm3", [values])
        files = {item["metadata"]["name"]: item["data"]["hookbus.toml"] for item in objects if is_configuration(item)}
        for name, pod in pods(objects):
            with tempfile.TemporaryDirectory() as folder:
                shown = started(Path(folder), pod, files)
            assert re.search(r"^brokers = .*# file ", shown, re.MULTILINE), f"{values.name}: {name}: {shown}"
            count += 1
    return f"{count} pods"


def is_configuration(item: dict) -> bool:
    return item["kind"] == "ConfigMap" and "hookbus.toml" in (item.get("data") or {})


def started(folder: Path, pod: dict, files: dict[str, str]) -> str:
    """`hookbus config show` where the pod's files lie below a folder."""
    container = pod["containers"][0]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        volume, inside = volumes[mount["name"]], folder / mount["mountPath"].lstrip("/")
        inside.mkdir(parents=True)
        if "configMap" in volume:
            (inside / "hookbus.toml").write_text(files[volume["configMap"]["name"]])
        for item in volume.get("secret", {}).get("items", []):
            (inside / item["path"]).write_text(CONTENT.get(item["path"], "any text"))
    environment = {"HOSTNAME": "hooks-hookbus-delivery-0", "POD_INDEX": "0"}
    for variable in container["env"]:
        value = variable.get("value", "").replace("$(POD_INDEX)", "0")
        if value.startswith(("/run/hookbus/", "/etc/hookbus/")):
            value = str(folder / value.lstrip("/"))
            assert Path(value).exists(), f"{variable['name']}: nothing is mounted at {variable['value']}"
        if "valueFrom" not in variable:
            environment[variable["name"]] = value
    return hookbus("config", "show", environment=environment)


def commands_exist() -> str:
    """What pods run and what people are told to run."""
    said = set()
    for values in example_values():
        for _name, pod in pods(render("helm3", [values])):
            said |= {tuple(container["args"]) for container in pod.get("initContainers", []) + pod["containers"]}
        said |= {tuple(line.split()[1:3]) for line in notes([values]).splitlines() if line.startswith("  hookbus ")}
    for command in said:
        words = [word for word in command if not word.startswith("-")]
        hookbus(*words[: 1 if words[0] in ("tail", "fanout") else None], "--help")
    return f"{len(said)} commands"


def doctor_goes_first() -> str:
    """The topics job says which step to Kafka fails before it creates anything, and `helm test` looks at all there is."""
    jobs = 0
    for values in example_values():
        for item in render("helm3", [values]):
            if item["kind"] == "Job":
                [before], [main] = (item["spec"]["template"]["spec"][key] for key in ("initContainers", "containers"))
                assert before["args"] == ["doctor", "--for-topics"] and main["args"] == ["topics", "ensure"], values.name
                same = ("env", "volumeMounts", "image", "securityContext")
                assert all(before[key] == main[key] for key in same), f"{values.name}: the two see different things"
                jobs += 1
            elif item["kind"] == "Pod":
                assert item["spec"]["containers"][0]["args"] == ["doctor"], values.name
    assert jobs, "no example has a topics job"
    return f"{jobs} jobs"


def doctor_knows_the_limits() -> str:
    """`hookbus doctor --role` comes to the sums that the chart's memory limits are made of."""
    count = 0
    for values in example_values():
        # What the pods of each run, as the chart says.
        runs = {name.rsplit("-", 1)[-1]: pod["containers"][0]["args"] for name, pod in pods(render("helm3", [values]))}
        workloads = [role for role in (*ROLES, "sources") if role in runs]
        # As for the notes: an object of ours says what is computed.
        sums = "\n".join(
            f"  {role}: {{{{ include \"hookbus.memorySum\" (dict \"root\" . \"role\" \"{role}\") | quote }}}}" for role in workloads
        )
        carrier = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{ name: sums }}\ndata:\n{sums}\n"
        objects = render("helm3", [values], given=yaml.safe_dump({"extraObjects": [carrier]}))
        [told] = [item["data"] for item in objects if item["metadata"]["name"] == "sums"]
        toml = next(item["data"]["hookbus.toml"] for item in objects if is_configuration(item))
        for role in workloads:
            found = doctor_sum(toml, runs[role])
            assert found == int(told[role]) // 2**20, f"{values.name}: {role}: {found} MiB, the chart says {told[role]} bytes"
            count += 1
    return f"{count} sums"


def doctor_sum(toml: str, runs: list[str]) -> int:
    """MiB that the bounds of a configuration come to for a role, by what its pods run."""
    role, *more = runs
    # Nobody listens there: what is of the host is looked at all the same.
    brokers = re.search(r'^brokers = "([^"]*)"', toml, re.MULTILINE)[1].split(",")
    environment = {"HOSTNAME": "hooks", "HOOKBUS__KAFKA__BROKERS": ",".join(["127.0.0.1:1"] * len(brokers))}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "hookbus.toml"
        path.write_text(toml)
        command = [str(BINARY), "--config", str(path), "doctor", "--role", role, *more, "--output", "json"]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1, f"{role}: {ended.returncode} {ended.stderr}"
    [row] = [row for row in json.loads(ended.stdout) if row["what"] == "memory"]
    return int(re.search(r"may come to (\d+) MiB", row["found"])[1])


def defaults_known() -> str:
    """Values that the chart computes with are the binary's defaults, but for those whose comment says otherwise."""
    config = yaml.safe_load((CHART / "values.yaml").read_text())["config"]
    schema = json.loads(SCHEMA.read_text())["properties"]["config"]
    count, different = 0, set()

    def compare(values: dict, own: dict, path: str) -> None:
        nonlocal count
        for key, value in values.items():
            found, name = own["properties"][key], f"{path}.{key}"
            if isinstance(value, dict):
                compare(value, found, name)
                continue
            count += 1
            if value != found.get("default", [] if found["type"] == "array" else ""):
                different.add(name.removeprefix("config."))

    compare(config, schema, "config")
    assert different == DIFFERENT, different ^ DIFFERENT
    return f"{count} values, {len(different)} of them the chart's own"
