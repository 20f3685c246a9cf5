import json
from pathlib import Path
from typing import Any

import helm_python as helm
import kubernetes_validate
import pytest
import yaml

from gateway.api.chat import DEEPSEEK_CHAT
from gateway.api.messages import DEEPSEEK_MESSAGES
from gateway.server.admin_gate import BELOW, PAGES
from gateway.telemetry.exchange_metrics import TTFT_BUCKETS

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/llm-routing-gateway"
KUBERNETES = ("1.25", "1.30", "1.37")

LEAST: dict[str, Any] = {"apiKeys": {"existingSecret": "client-keys"}}
EVERYTHING: dict[str, Any] = {
    "apiKeys": {"existingSecret": "client-keys"},
    "adminKey": {"existingSecret": "admin", "key": "password"},
    "providerKeys": {"existingSecret": "host-keys"},
    "redis": {"existingSecret": "store"},
    "imagePullSecrets": [{"name": "registry"}],
    "config": {"log": {"level": "info"}},
    "policies": {"nitro.yaml": "name: nitro\nscore:\n  value_of_time: $20/h\n"},
    "ingress": {
        "enabled": True,
        "className": "nginx",
        "hosts": ["gateway.example.org"],
        "tls": [{"secretName": "tls", "hosts": ["gateway.example.org"]}],
    },
    "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "prometheusRule": {
        "enabled": True,
        "labels": {"release": "prometheus"},
        "limits": {"cost_usd_per_day": 12.5, "requests_least": 2000},
        "ttft": {"share": 0.9, "seconds": "2.5"},
        "runbooks": "https://docs.example.org/",
    },
    "dashboards": {"enabled": True, "gatewayUrl": "https://gateway.example.org"},
    "autoscaling": {"enabled": True},
    "podDisruptionBudget": {"enabled": True},
    "extraEnv": [
        {"name": "SSL_CERT_FILE", "value": "/etc/gateway/authority/ca.pem"},
        {"name": "WEB_KEY", "valueFrom": {"secretKeyRef": {"name": "web", "key": "key"}}},
    ],
    "extraVolumes": [{"name": "authority", "configMap": {"name": "company-authority"}}],
    "extraVolumeMounts": [{"name": "authority", "mountPath": "/etc/gateway/authority", "readOnly": True}],
    "podAnnotations": {"team": "llm"},
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "llm", "operator": "Exists"}],
}


KEPT: dict[str, Any] = {
    **EVERYTHING,
    "state": {"persistence": {"enabled": True, "size": "5Gi", "storageClass": "fast"}},
    "ingress": {**EVERYTHING["ingress"], "pages": True},
}


def rendered(values: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The objects that would be installed, by kind."""
    with helm.Chart.load(CHART) as chart:
        texts = chart.render(values, name="demo", namespace="llm")
    kinds: dict[str, list[dict[str, Any]]] = {}
    for path, text in texts.items():
        if path.endswith(".yaml"):
            for document in filter(None, yaml.safe_load_all(text)):
                kinds.setdefault(document["kind"], []).append(document)
    return kinds


def container(values: dict[str, Any]) -> dict[str, Any]:
    (deployment,) = rendered(values)["Deployment"]
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("values", [{}, LEAST, EVERYTHING, KEPT], ids=["defaults", "least", "everything", "kept"])
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    report = helm.lint(CHART, values, strict=True)
    assert report["errors"] == []
    assert [message for message in report["messages"] if message["severity"] > 1] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [LEAST, EVERYTHING, KEPT], ids=["least", "everything", "kept"])
def test_kubernetes_takes_every_object(values: dict[str, Any], version: str) -> None:
    for kind, documents in rendered(values).items():
        for document in documents:
            if kind not in {"ServiceMonitor", "PrometheusRule"}:  # a custom resource: no schema of Kubernetes' own
                kubernetes_validate.validate(document, version, strict=True)


def test_the_least_that_can_be_said_installs_the_least() -> None:
    assert set(rendered(LEAST)) == {"Deployment", "Service", "ServiceAccount"}


def test_all_optional_resources_are_rendered_when_enabled() -> None:
    kinds = rendered(EVERYTHING)
    assert set(kinds) == {
        "ConfigMap",
        "Deployment",
        "HorizontalPodAutoscaler",
        "Ingress",
        "PodDisruptionBudget",
        "PrometheusRule",
        "Service",
        "ServiceAccount",
        "ServiceMonitor",
    }
    assert "replicas" not in kinds["Deployment"][0]["spec"], "the autoscaler decides"


def paths(values: dict[str, Any]) -> list[tuple[str, str]]:
    (ingress,) = rendered(values)["Ingress"]
    (rule,) = ingress["spec"]["rules"]
    return [(one["path"], one["pathType"]) for one in rule["http"]["paths"]]


def test_the_ingress_leaves_out_the_page_and_the_metrics_unless_they_are_enabled() -> None:
    """Every route that clients use is served, and none of those that the admin key closes."""
    served = paths(EVERYTHING)
    assert paths(KEPT) == [("/", "Prefix")]

    def serves(route: str) -> bool:
        return any(route == path or (kind == "Prefix" and route.startswith(f"{path}/")) for path, kind in served)

    assert [path for path in (*PAGES, *(f"{start}x/y" for start in BELOW), "/health/ready") if serves(path)] == []
    for route in ("/v1/chat/completions", "/api/v1/models", DEEPSEEK_MESSAGES, *DEEPSEEK_CHAT, "/models", "/v1/models"):
        assert serves(route), route


def test_pods_are_spread_over_the_nodes() -> None:
    (deployment,) = rendered(LEAST)["Deployment"]
    pod = deployment["spec"]["template"]
    (constraint,) = pod["spec"]["topologySpreadConstraints"]
    assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
    assert constraint["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (other,) = rendered(LEAST | {"topologySpread": {"enabled": False}})["Deployment"]
    assert "topologySpreadConstraints" not in other["spec"]["template"]["spec"]


def test_a_volume_for_the_ledger() -> None:
    """Each pod has its own, because a state folder belongs to one gateway; so the pods are a StatefulSet."""
    kinds = rendered(KEPT)
    assert "Deployment" not in kinds
    (workload,), (scaler,), (service,) = kinds["StatefulSet"], kinds["HorizontalPodAutoscaler"], kinds["Service"]
    assert workload["spec"]["serviceName"] == service["metadata"]["name"]
    assert scaler["spec"]["scaleTargetRef"]["kind"] == "StatefulSet"
    (claim,) = workload["spec"]["volumeClaimTemplates"]
    assert (claim["metadata"]["name"], claim["spec"]["storageClassName"]) == ("state", "fast")
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    pod = workload["spec"]["template"]["spec"]
    assert "state" in {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert "state" not in {volume["name"] for volume in pod["volumes"]}


def test_the_monitor_sends_the_admin_key() -> None:
    (monitor,) = rendered(EVERYTHING)["ServiceMonitor"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "admin", "key": "password"}}
    (without,) = rendered({**EVERYTHING, "adminKey": {}})["ServiceMonitor"]
    assert "authorization" not in without["spec"]["endpoints"][0]


def test_the_monitor_finds_the_service() -> None:
    kinds = rendered(EVERYTHING)
    (monitor,), (service,) = kinds["ServiceMonitor"], kinds["Service"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_service_finds_the_pods() -> None:
    kinds = rendered(LEAST)
    pod = kinds["Deployment"][0]["spec"]["template"]["metadata"]["labels"]
    assert kinds["Service"][0]["spec"]["selector"].items() <= pod.items()


def test_rules_arrive_with_the_limits_and_the_address_of_the_runbooks() -> None:
    (rules,) = rendered(EVERYTHING)["PrometheusRule"]
    assert rules["metadata"]["labels"]["release"] == "prometheus"
    shipped = yaml.safe_load((ROOT / "grafana/prometheus/rules.yml").read_text())["groups"]
    changed = {"cost_usd_per_day": "vector(12.5)", "requests_least": "vector(2000)"}
    for group in shipped:
        for rule in group["rules"]:
            rule["expr"] = changed.get(rule.get("labels", {}).get("limit"), rule["expr"])
            if rule.get("record") == "gateway:ttft:objective":
                rule |= {"expr": "vector(0.9)", "labels": {"le": "2.5"}}
            if "alert" in rule:
                rule["annotations"]["runbook_url"] = f"https://docs.example.org/{rule['annotations']['runbook_url']}"
    assert rules["spec"]["groups"] == shipped


def test_the_schema_knows_every_limit_and_every_bound() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["prometheusRule"]["properties"]
    groups = yaml.safe_load((ROOT / "grafana/prometheus/rules.yml").read_text())["groups"]
    limits = [rule["labels"]["limit"] for rule in groups[0]["rules"] if rule["record"] == "gateway:limit"]
    assert schema["limits"]["propertyNames"]["enum"] == limits
    assert {float(bound) for bound in schema["ttft"]["properties"]["seconds"]["enum"]} <= set(TTFT_BUCKETS)


def test_dashboards_arrive_with_the_address_of_the_gateway() -> None:
    maps = [one for one in rendered(EVERYTHING)["ConfigMap"] if "-dashboard-" in one["metadata"]["name"]]
    assert all(one["metadata"]["labels"]["grafana_dashboard"] == "1" for one in maps)
    arrived = {name: json.loads(text) for one in maps for name, text in one["data"].items()}
    folder = ROOT / "grafana/dashboards"
    shipped = {f"llm-gateway-{path.name}": path.read_text() for path in folder.iterdir()}
    address = ("http://127.0.0.1:8080", "https://gateway.example.org")
    assert arrived == {name: json.loads(text.replace(*address)) for name, text in shipped.items()}
    assert address[1] in json.dumps(arrived)


def test_configuration_arrives_as_files() -> None:
    files = {name: text for one in rendered(EVERYTHING)["ConfigMap"] for name, text in one["data"].items()}
    assert yaml.safe_load(files["gateway.yaml"]) == EVERYTHING["config"]
    assert yaml.safe_load(files["nitro.yaml"]) == {"name": "nitro", "score": {"value_of_time": "$20/h"}}
    arguments = container(EVERYTHING)["args"]
    assert "--config=/etc/gateway/config/gateway.yaml" in arguments
    assert "--policies=/etc/gateway/policies" in arguments


def test_secrets_are_referred_to_and_never_written() -> None:
    referred = [one for one in container(EVERYTHING)["env"] if "valueFrom" in one]
    assert {one["name"]: one["valueFrom"]["secretKeyRef"]["name"] for one in referred} == {
        "GATEWAY_API_KEYS": "client-keys",
        "GATEWAY_ADMIN_KEY": "admin",
        "GATEWAY_REDIS_URL": "store",
        "WEB_KEY": "web",
    }
    assert container(EVERYTHING)["envFrom"] == [{"secretRef": {"name": "host-keys"}}]


def test_what_is_extra_comes_behind_what_is_there() -> None:
    one = container(EVERYTHING)
    assert one["env"][-2:] == EVERYTHING["extraEnv"]
    assert one["volumeMounts"][-1:] == EVERYTHING["extraVolumeMounts"]
    assert one["volumeMounts"][:-1] == container({**EVERYTHING, "extraVolumeMounts": []})["volumeMounts"]
    (deployment,) = rendered(EVERYTHING)["Deployment"]
    assert deployment["spec"]["template"]["spec"]["volumes"][-1:] == EVERYTHING["extraVolumes"]


def test_an_extra_variable_needs_no_other() -> None:
    values = {"apiKeys": {"disabled": True}, "extraEnv": [{"name": "A", "value": "b"}]}
    assert container(values)["env"] == values["extraEnv"]


def test_probes_and_privileges() -> None:
    one = container(LEAST)
    assert one["livenessProbe"]["httpGet"]["path"] == "/health/live"
    assert one["readinessProbe"]["httpGet"]["path"] == "/health/ready"
    assert one["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert one["resources"]["limits"]["memory"]


def test_no_auth_has_to_be_set_explicitly() -> None:
    assert "--no-auth" not in container(LEAST)["args"]
    assert "--no-auth" in container({"apiKeys": {"disabled": True}})["args"]
    with pytest.raises(helm.HelmRenderError, match=r"apiKeys\.existingSecret: name the Secret"):
        rendered({})


@pytest.mark.parametrize(
    "wrong",
    [
        {"replicas": 3},
        {"workers": 0},
        {"policies": {"nitro": "name: nitro"}},
        {"redis": {"url": "http://store"}},
        {"ingress": {"enabled": True}},
        {"ingress": {"pages": "yes"}},
        {"adminKey": {"value": "secret"}},
        {"state": {"persistence": {"enabled": True, "size": "much"}}},
        {"topologySpread": {"whenUnsatisfiable": "Never"}},
        {"service": {"port": 70_000}},
        {"extraEnv": [{"name": "A", "vale": "b"}]},
        {"extraEnv": {"A": "b"}},
        {"extraVolumes": [{"name": "state", "emptyDir": {}}]},
        {"extraVolumeMounts": [{"name": "a", "mountPath": "relative"}]},
    ],
    ids=str,
)
def test_wrong_values_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(helm.HelmValuesError):
        rendered(LEAST | wrong)


def notes(values: dict[str, Any]) -> str:
    with helm.Chart.load(CHART) as chart:
        texts: dict[str, str] = chart.render(values, name="demo", namespace="llm")
    return next(text for path, text in texts.items() if path.endswith("NOTES.txt"))


def test_notes_warn_of_what_is_missing() -> None:
    assert "redis is not set" in notes(LEAST)


def test_notes_warn_of_pages_that_are_open_to_everyone() -> None:
    warning = "the Ingress serves the model page and /metrics to everyone"
    assert warning in notes({**KEPT, "adminKey": {}})
    assert warning not in notes(KEPT) + notes(EVERYTHING)


def test_the_image_is_named_by_tag_or_by_digest() -> None:
    assert container(LEAST)["image"].startswith("llm-routing-gateway:")
    digest = f"sha256:{'0f' * 32}"
    assert container(LEAST | {"image": {"digest": digest, "tag": "1"}})["image"] == f"llm-routing-gateway@{digest}"
