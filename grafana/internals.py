"""The dashboard of the gateway itself: what it adds, what it rejects, its parts and its processes."""

from grafana import queries as q
from grafana.looks import ANY_IS_BAD, Column, graph, number, rows
from grafana.page import Row

EACH = "{{instance}}"


def internals() -> list[Row]:
    return [
        Row("Now", figures(), 4, 4),
        Row("Requests", requests(), 12, 9),
        Row("Limits", limits(), 8, 9),
        Row("Parts", parts(), 12, 9),
        Row("Processes", processes(), 12, 9),
        Row("Instances", [instances()], 24, 7),
    ]


def figures() -> list[object]:
    at = q.GATEWAY
    lost = q.grown("gateway_ledger_errors_total", at)
    return [
        number("Instances", f"count(gateway_build_info{{{at}}})", "short", "Gateways that are scraped."),
        number("Workers", f"count(process_start_time_seconds{{{at}}})", "short", "Processes that serve requests."),
        number(
            "Overhead p50", q.quantile(0.5, "gateway_overhead_seconds", at, per=q.RANGE), "s", "Added by the gateway."
        ),
        number(
            "Overhead p99", q.quantile(0.99, "gateway_overhead_seconds", at, per=q.RANGE), "s", "Added by the gateway."
        ),
        number("Ledger rows lost", lost, "short", "Attempts that are in no report.", ANY_IS_BAD),
        number(
            "Invalid files",
            f"max(gateway_policy_files_invalid{{{at}}}) + max(gateway_config_file_invalid{{{at}}})",
            "short",
            "Policies and gateway.yaml: older ones stay in force.",
            ANY_IS_BAD,
        ),
    ]


def requests() -> list[object]:
    at = q.GATEWAY
    overhead = [
        (q.quantile(share, "gateway_overhead_seconds", at), f"p{round(share * 100)}") for share in (0.5, 0.95, 0.99)
    ]
    shed = q.active("gateway_shed_total", at, "reason")
    return [
        graph("Overhead", overhead, "s", "Time that the gateway adds to a request, without waiting for endpoints."),
        graph(
            "In flight", [(f"sum by (instance) (gateway_in_flight{{{at}}})", EACH)], "short", "Requests.", stack=True
        ),
        graph(
            "Requests", [(f"sum by (instance) (rate({q.REQUESTS}{{{at}}}[{q.STEP}]))", EACH)], "reqps", "Per second."
        ),
        graph("Shed requests", [(shed, "{{reason}}")], "reqps", "Rejected with a 503 at a limit.", stack=True),
    ]


def limits() -> list[object]:
    at = q.GATEWAY
    kind = "{{scope}} {{limit}}"
    refused = q.active("gateway_limit_refused_total", at, "scope, limit")
    left = f"gateway_limit_remaining_ratio{{{at}}}"
    used = f"min by (scope, limit) (min_over_time({left}[{q.RANGE}] @ end())) < 1"
    least = q.present(f"min by (scope, limit) ({left})", used, "scope", 1)
    retries = q.active("gateway_retries_refused_total", at, "model")
    return [
        graph("Refused by limits", [(refused, kind)], "reqps", "Limits of keys, groups and apps.", stack=True),
        graph("Left of limits", [(least, kind)], "percentunit", "Of the one with the least left."),
        graph("Retries refused", [(retries, "{{model}}")], "reqps", "By the budget of retries.", stack=True),
    ]


def parts() -> list[object]:
    at = q.GATEWAY
    failed = q.active("gateway_part_failures_total", at, "part")
    deaths = q.grown("gateway_worker_deaths_total", at, "instance", q.STEP)
    reloads = [
        (q.grown(f"gateway_{what}_reloads_total", at, "result", q.STEP), f"{words}: {{{{result}}}}")
        for what, words in (("policy", "policies"), ("config", "gateway.yaml"))
    ]
    return [
        graph(
            "Failures of parts", [(failed, "{{part}}")], "ops", "Disk, state folder, descriptors, tasks.", stack=True
        ),
        graph("Workers that died", [(deaths, EACH)], "short", "And were replaced."),
        graph("Reloads", reloads, "short", "Of policies and gateway.yaml. Every worker counts its own."),
        graph(
            "Duration of scrapes",
            [(f"max by (instance) (scrape_duration_seconds{{{at}}})", EACH)],
            "s",
            "By Prometheus.",
        ),
    ]


def processes() -> list[object]:
    at = q.GATEWAY
    each = "{{instance}} {{pid}}"
    files = f"max by (instance, pid) (process_open_fds{{{at}}} / process_max_fds{{{at}}})"
    return [
        graph(
            "CPU",
            [(f"sum by (instance, pid) (rate(process_cpu_seconds_total{{{at}}}[{q.STEP}]))", each)],
            "short",
            "Cores.",
        ),
        graph(
            "Memory", [(f"max by (instance, pid) (process_resident_memory_bytes{{{at}}})", each)], "bytes", "Resident."
        ),
        graph("File descriptors in use", [(files, each)], "percentunit", "Of the process's limit."),
        graph(
            "Age",
            [(f"time() - max by (instance, pid) (process_start_time_seconds{{{at}}})", each)],
            "s",
            "Since start.",
        ),
    ]


def instances() -> object:
    at = q.GATEWAY
    columns = [
        Column("Workers", f"count by (instance) (process_start_time_seconds{{{at}}})"),
        Column(
            "Store", f"min by (instance) (gateway_store_up{{{at}}})", words={"1": ("up", "green"), "0": ("down", "red")}
        ),
        Column("Requests", q.grown(q.REQUESTS, at, "instance"), "locale", decimals=0),
        Column("Memory", f"sum by (instance) (process_resident_memory_bytes{{{at}}})", "bytes"),
        Column("Started", f"1000 * min by (instance) (process_start_time_seconds{{{at}}})", "dateTimeFromNow"),
        Column(
            "Scraped", f"max by (instance, version, build) (gateway_build_info{{{at}}})", words={"1": ("yes", "green")}
        ),
    ]
    return rows("Instances", ["instance", "version", "build"], columns, "Every gateway that is scraped.", "Requests")
