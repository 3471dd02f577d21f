"""Checks the chart, the alerts and the dashboards; prints what was seen and how long it took.   `--write` brings in step what is made of the binary."""

import sys
import time

import alerts
import binary
import dashboards
import examples
import wrong

CHECKS = [
    examples.lint,
    examples.same_objects,
    examples.packs,
    examples.schemas,
    examples.pod_security,
    examples.ends_in_time,
    examples.names,
    examples.references,
    examples.one_address,
    examples.gateways_are_counted,
    examples.documented_install,
    wrong.refused,
    binary.schema_in_step,
    binary.defaults_known,
    binary.configuration_accepted,
    binary.commands_exist,
    binary.doctor_knows_the_limits,
    binary.doctor_goes_first,
    binary.users_are_allowed_what_the_roles_need,
    alerts.cases_hold,
    alerts.cases_see_every_break,
    alerts.names_exist,
    alerts.labels_stay,
    alerts.chart_takes_them,
    dashboards.in_step,
    dashboards.expressions_parse,
    dashboards.names_exist,
    dashboards.panels_are_explained,
    dashboards.chart_carries_them,
]


def main(arguments: list[str]) -> int:
    if arguments == ["--write"]:
        binary.write()
        return 0
    if arguments:
        print("usage: deploy/helm/check.sh [--write]", file=sys.stderr)
        return 64
    begun, failed = time.monotonic(), 0
    for check in CHECKS:
        name, since = f"{check.__module__}.{check.__name__}", time.monotonic()
        try:
            said = check()
        except Exception as error:  # One that fails hides none of the others.
            failed += 1
            said = f"FAILED: {type(error).__name__}: {error}"
        print(f"{name:<32}{time.monotonic() - since:6.1f} s  {said}", flush=True)
    print(f"{len(CHECKS)} checks, {failed} failed, {time.monotonic() - begun:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
