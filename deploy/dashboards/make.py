"""Writes the dashboards of this folder: what they show stands here once, in words and expressions.

usage: make.py [--check]   with --check nothing is written; it ends with 1 if a file is not what would be written
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
# Whatever is chosen above the panels.
POD = 'namespace=~"$namespace",pod=~"$pod"'
ALL = 'namespace=~"$namespace"'
WIDTH = 24


def rate(metric: str, by: str = "", labels: str = "") -> str:
    group = f" by ({by})" if by else ""
    return f"sum{group} (rate({metric}{{{POD}{labels}}}[$__rate_interval]))"


def quantile(part: float, metric: str, by: str = "", window: str = "$__rate_interval") -> str:
    group = f", {by}" if by else ""
    return f"histogram_quantile({part}, sum by (le{group}) (rate({metric}_bucket{{{POD}}}[{window}])))"


def biggest(metric: str, by: str) -> str:
    return f"max by ({by}) ({metric}{{{POD}}})"


def total(metric: str, by: str = "") -> str:
    return f"sum{f' by ({by})' if by else ''} ({metric}{{{POD}}})"


class Panel:
    """A panel: its title, what it shows in a sentence, its unit, and its expressions with their names."""

    def __init__(self, title, about, unit, *targets, kind="timeseries", width=8, height=7, steps=(), may_be_empty=False):
        self.title, self.about, self.unit, self.targets = title, about, unit, targets
        self.kind, self.width, self.height, self.steps, self.may_be_empty = kind, width, height, steps, may_be_empty

    def json(self, number: int, x: int, y: int) -> dict:
        about = self.about + (" No data is normal." if self.may_be_empty else "")
        colours = [{"color": "green", "value": None}] + [{"color": c, "value": v} for v, c in self.steps]
        panel = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": about,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "fieldConfig": {
                "defaults": {"unit": self.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": colours}},
                "overrides": [],
            },
            "targets": [
                {
                    "refId": chr(ord("A") + at),
                    "expr": expr,
                    "legendFormat": legend,
                    "datasource": {"type": "prometheus", "uid": "${datasource}"},
                    **({"instant": True, "format": "table"} if self.kind == "table" else {}),
                }
                for at, (expr, legend) in enumerate(self.targets)
            ],
        }
        if self.kind == "stat":
            panel["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "value", "graphMode": "area"}
        if self.kind == "timeseries":
            panel["options"] = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
            panel["fieldConfig"]["defaults"]["custom"] = {"fillOpacity": 8, "showPoints": "never"}
        if self.kind == "table":
            hidden = {"Time": True}
            panel["transformations"] = [
                {"id": "merge", "options": {}},
                {"id": "organize", "options": {"excludeByName": hidden, "renameByName": {
                    f"Value #{chr(ord('A') + at)}": legend for at, (_, legend) in enumerate(self.targets)}}},
            ]
        return panel


SUCCESS = (
    f'sum (rate(hookbus_delivery_attempts_total{{{POD},outcome="delivered"}}[15m]))'
    f" / sum (rate(hookbus_delivery_attempts_total{{{POD}}}[15m]))"
)
RETRIES = (
    f"sum (rate(hookbus_delivery_retries_total{{{POD}}}[15m]))"
    f" / sum (rate(hookbus_delivery_attempts_total{{{POD}}}[15m]))"
)

OVERVIEW = [
    Panel("Delivered at once or later", "Attempts of the last 15 minutes that delivered.", "percentunit", (SUCCESS, ""),
          kind="stat", width=6, height=5, may_be_empty=True),
    Panel("P95 of first deliveries", "From an event's acceptance to its delivery by the first attempt, 15 minutes.", "s",
          ('histogram_quantile(0.95, sum by (le) (rate(hookbus_delivery_latency_seconds_bucket'
           f'{{{POD},attempt="first"}}[15m])))', ""),
          kind="stat", width=6, height=5, steps=((30, "red"),), may_be_empty=True),
    Panel("Retried", "Attempts of the last 15 minutes after which another one was scheduled.", "percentunit", (RETRIES, ""),
          kind="stat", width=6, height=5, may_be_empty=True),
    Panel("Dead letters nobody has decided about", "Neither redriven nor discarded, of the days that the delivery log keeps.",
          "short", (f"max (hookbus_control_dead_letters_unprocessed{{{ALL}}})", ""), kind="stat", width=6, height=5,
          steps=((100, "red"),)),
    Panel("Events per second", "Taken by gateways, accepted by fan-outs (also from topics), and deliveries made and done.", "cps",
          (rate("hookbus_gateway_accepted_total"), "taken over HTTP"), (rate("hookbus_fanout_accepted_total"), "accepted"),
          (rate("hookbus_fanout_matched_total"), "deliveries made"),
          (f'sum (rate(hookbus_delivery_attempts_total{{{POD},outcome="delivered"}}[$__rate_interval]))', "delivered"), width=12),
    Panel("Refused", "Events and requests that gateways refused, by problem.", "cps",
          (rate("hookbus_gateway_refused_total", "problem"), "{{problem}}"), width=12),
    Panel("How long the oldest waits", "Records that a role has not done, by its committed offsets; also where nobody runs.", "s",
          (f"max by (role) (hookbus_control_backlog_seconds{{{ALL}}})", "{{role}}"),
          (f"max (hookbus_delivery_waiting_seconds{{{POD}}})", "for its turn"), width=8),
    Panel("Waiting for a retry", "By delay topic: what was scheduled and is not due.", "short",
          (total("hookbus_retry_waiting_records", "topic"), "{{topic}}"), width=8),
    Panel("Waiting in lanes", "Listed deliveries: of busy subscriptions, of open circuits, of paused ones.", "short",
          (total("hookbus_delivery_queued", "state"), "{{state}}"), width=8),
    Panel("Endpoints that fail", "The worst, with their failures in a row and how much of what they were sent was sent again.",
          "short",
          (f"topk(20, max by (application, subscription) (hookbus_delivery_endpoint_consecutive_failures{{{ALL}}}))", "failures"),
          (f"max by (application, subscription) (hookbus_delivery_endpoint_retry_ratio{{{ALL}}})", "sent again"),
          kind="table", width=24, height=8, may_be_empty=True),
]

DELIVERY = [
    Panel("Attempts by outcome", "Per second; `refused` are targets that the guard does not let through.", "cps",
          (rate("hookbus_delivery_attempts_total", "outcome"), "{{outcome}}")),
    Panel("How long an attempt takes", "Connection, request and answer.", "s",
          (quantile(0.5, "hookbus_delivery_attempt_seconds"), "half"),
          (quantile(0.95, "hookbus_delivery_attempt_seconds"), "95 %"),
          (quantile(0.99, "hookbus_delivery_attempt_seconds"), "99 %"), may_be_empty=True),
    Panel("From acceptance to delivery", "P95, of what the first attempt delivered and of what a later one did.", "s",
          (quantile(0.95, "hookbus_delivery_latency_seconds", "attempt"), "{{attempt}}"), may_be_empty=True),
    Panel("From acceptance to the first attempt", "P95: the part that is the pipeline's own.", "s",
          (quantile(0.95, "hookbus_delivery_pickup_seconds"), "95 %"), may_be_empty=True),
    Panel("Waiting for its turn", "The delivery that has waited longest although it is due and its lane sends.", "s",
          (biggest("hookbus_delivery_waiting_seconds", "pod"), "{{pod}}")),
    Panel("In flight", "Requests, and how many there may be.", "short", (total("hookbus_delivery_in_flight"), "in flight"),
          (total("hookbus_delivery_in_flight_limit"), "limit"), (total("hookbus_delivery_connections"), "connections")),
    Panel("Endpoints in trouble", "Whose last requests failed; whose circuit is open; origins whose circuit is open.", "short",
          (total("hookbus_delivery_failing_endpoints"), "failing"), (total("hookbus_delivery_open_circuits"), "circuit open"),
          (total("hookbus_delivery_open_origins"), "origins")),
    Panel("Retries and dead letters", "Scheduled and given up, per second.", "cps",
          (rate("hookbus_delivery_retries_total"), "retries"),
          (rate("hookbus_delivery_dead_letters_total", "reason"), "dead: {{reason}}")),
    Panel("Waiting in lanes", "Listed deliveries by what their lane does, and how old the oldest is.", "short",
          (total("hookbus_delivery_queued", "state"), "{{state}}"),
          (f"max (hookbus_delivery_queued_seconds{{{POD}}})", "oldest, s")),
    Panel("Intake held", "1 while everything fails at once: the worker's own network, not its endpoints.", "short",
          (biggest("hookbus_delivery_egress_held", "pod"), "{{pod}}"), steps=((1, "red"),)),
    Panel("Retries overdue", "How long the retry has been due that waits longest to be moved.", "s",
          (biggest("hookbus_retry_overdue_seconds", "pod"), "{{pod}}")),
    Panel("Deliveries in memory", "Read and not done; payloads of listed ones that were read back.", "short",
          (total("hookbus_delivery_live_deliveries"), "deliveries"), (total("hookbus_delivery_queue_bytes"), "bytes of listed ones")),
]

STAGES = ("fanout", "delivery", "retry", "control")
PROCESSES = [
    Panel("Behind, in records", "By committed offsets, as the control plane sees them for all.", "short",
          (f"max by (role) (hookbus_control_backlog_records{{{ALL}}})", "{{role}}")),
    Panel("Backlog of what its topic keeps", "At 1 records are deleted unread.", "percentunit",
          (f"max by (topic) (hookbus_control_backlog_share{{{ALL}}})", "{{topic}}"), steps=((0.5, "red"),)),
    Panel("Who runs", "Processes that say so on `status`, and those that have fallen silent.", "short",
          (f"max by (role, state) (hookbus_control_instances{{{ALL}}})", "{{role}} {{state}}")),
    Panel("Transactions per second", "By role.", "cps",
          *((rate(f"hookbus_{role}_transactions_total"), role) for role in STAGES)),
    Panel("Partitions they touch per second", "What transactions cost the brokers.", "cps",
          *((rate(f"hookbus_{role}_transaction_partitions_total"), role) for role in STAGES)),
    Panel("How long a transaction takes", "P95 by role.", "s",
          *((quantile(0.95, f"hookbus_{role}_transaction_seconds"), role) for role in STAGES), may_be_empty=True),
    Panel("Standing still", "Seconds that something has stood still while Kafka answers; partitions that nobody reads.", "short",
          (f"max by (pod) (hookbus_stage_stalled_seconds{{{POD}}})", "{{pod}}, s"),
          (f"max by (pod) (hookbus_stage_unbegun_partitions{{{POD}}})", "{{pod}}, partitions")),
    Panel("Errors of Kafka clients", "By what they say, per second.", "cps",
          (rate("hookbus_kafka_errors_total", "kind"), "{{kind}}")),
    Panel("Broken promises", "Violations of the numbered invariants, and records that retention deleted unread.", "short",
          (f"sum by (invariant) (increase(hookbus_invariant_violations_total{{{POD}}}[1h]))", "invariant {{invariant}}"),
          *((f"sum (increase(hookbus_{role}_lost_records_total{{{POD}}}[1h]))", f"lost by {role}") for role in STAGES)),
    Panel("Memory", "Resident, and the limit where the kubelet tells of one.", "bytes",
          (biggest("process_resident_memory_bytes", "pod"), "{{pod}}"),
          (f'max by (pod) (kube_pod_container_resource_limits{{{POD},container="hookbus",resource="memory"}})', "limit of {{pod}}")),
    Panel("Processor", "Cores in use.", "short",
          (f"sum by (pod) (rate(process_cpu_seconds_total{{{POD}}}[$__rate_interval]))", "{{pod}}")),
    Panel("Descriptors", "Open ones as a share of how many may be.", "percentunit",
          (f"max by (pod) (process_open_fds{{{POD}}} / process_max_fds{{{POD}}})", "{{pod}}"), steps=((0.8, "red"),)),
    Panel("Versions", "Processes by version and revision.", "short",
          (f"count by (version, revision) (hookbus_build_info{{{POD}}})", "{{version}} {{revision}}")),
    Panel("Age of the processes", "Since their start.", "s",
          (f"time() - min by (pod) (process_start_time_seconds{{{POD}}})", "{{pod}}")),
    Panel("Snapshots", "Changes of subscriptions that the last process has not read and the first one has.", "short",
          (f"max (hookbus_catalog_position_offset{{{ALL}}}) - min (hookbus_catalog_position_offset{{{ALL}}})", "apart")),
]

DASHBOARDS = {
    "overview": ("Hookbus: overview", OVERVIEW),
    "delivery": ("Hookbus: delivery", DELIVERY),
    "processes": ("Hookbus: Kafka and processes", PROCESSES),
}


def variable(name: str, query: str, **more) -> dict:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "definition": query,
        "includeAll": True,
        "multi": True,
        "refresh": 2,
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
        **more,
    }


VARIABLES = [
    {"name": "datasource", "type": "datasource", "query": "prometheus", "refresh": 1},
    # What has no such label, as outside of Kubernetes, is shown too.
    variable("namespace", "label_values(hookbus_build_info, namespace)", allValue=".*"),
    variable("release", 'label_values(hookbus_build_info{namespace=~"$namespace"}, pod)', allValue=".*",
             regex="/^(.+?)-(?:gateway|fanout|delivery|retry|control)-/"),
    # `component` is the process's role; `role` in a metric is whom it speaks of, which of the control plane's are others.
    variable("role", 'label_values(hookbus_build_info{namespace=~"$namespace"}, component)', allValue=".*"),
    variable("pod", 'label_values(hookbus_build_info{namespace=~"$namespace",pod=~"($release).*",component=~"$role"}, pod)'),
]


def dashboard(name: str) -> str:
    title, panels = DASHBOARDS[name]
    placed, x, y, line = [], 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, line = 0, y + line, 0
        placed.append(panel.json(number, x, y))
        x, line = x + panel.width, max(line, panel.height)
    made = {
        "uid": f"hookbus-{name}",
        "title": title,
        "tags": ["hookbus"],
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "schemaVersion": 39,
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": VARIABLES},
        "links": [{"type": "dashboards", "tags": ["hookbus"], "title": "Hookbus", "asDropdown": True, "keepTime": True}],
        "panels": placed,
    }
    return json.dumps(made, indent=1, sort_keys=True) + "\n"


def main() -> int:
    stale = [name for name in DASHBOARDS if not (HERE / f"{name}.json").exists() or (HERE / f"{name}.json").read_text() != dashboard(name)]
    if sys.argv[1:] == ["--check"]:
        if stale:
            print(f"not what deploy/dashboards/make.py writes: {', '.join(stale)}", file=sys.stderr)
        return 1 if stale else 0
    for name in DASHBOARDS:
        (HERE / f"{name}.json").write_text(dashboard(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
