"""deploy/helm/stoploss as helm itself renders it: what may run, with which rights, and which secrets.

Where helm is on PATH: `go install helm.sh/helm/v3/cmd/helm@v3.18.4` builds the one that this was written with.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from stoploss.acls import GRANTS
from streams.worker import ROLES

CHART = Path(__file__).parents[1] / "deploy" / "helm" / "stoploss"
KEYS_OF = {
    "intake": {"secret.key"},
    "joiner": {"secret.key"},
    "judge": {"monitor.key", "secret.key"},
    "courier": {"monitor.pub", "break-glass.pub"},
}
ALL = tuple(f"roles.{role}.replicas=1" for role in ROLES)

pytestmark = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH: see the top of this file")


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["helm", *map(str, arguments)], check=False, capture_output=True, text=True)


def asked(*settings: str) -> subprocess.CompletedProcess[str]:
    return helm("template", "s", CHART, *(part for setting in settings for part in ("--set", setting)))


def rendered(*settings: str) -> list[dict[str, Any]]:
    done = asked(*settings)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    """By role."""
    found = (document for document in documents if document["kind"] == kind)
    return {document["metadata"]["name"].removeprefix("s-"): document for document in found}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def entries(deployment: dict[str, Any]) -> set[str]:
    """Of the Secret, what the pod is given."""
    mounts = [volume["secret"] for volume in pod(deployment)["volumes"] if "secret" in volume]
    assert all(mount["items"] for mount in mounts), "without items a Secret is mounted whole"
    return {item["key"] for mount in mounts for item in mount["items"]}


def environment(deployment: dict[str, Any]) -> dict[str, str]:
    (container,) = pod(deployment)["containers"]
    return {item["name"]: item["value"] for item in container["env"]}


def test_helm_finds_no_fault() -> None:
    done = helm("lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout
    assert " 0 chart(s) failed" in done.stdout


def test_each_role_runs_by_itself_without_rights_on_a_file_system_that_it_cannot_write() -> None:
    deployments = of_kind(rendered(*ALL), "Deployment")
    assert set(deployments) == set(ROLES)
    for role, deployment in deployments.items():
        spec = pod(deployment)
        (container,) = spec["containers"]
        assert container["args"] == ["worker", role]
        assert spec["securityContext"]["runAsNonRoot"]
        assert not spec["automountServiceAccountToken"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}
        assert all(container["resources"]["limits"].values())


def test_each_role_gets_in_as_its_own_user_with_its_own_password_over_tls() -> None:
    deployments = of_kind(rendered(*ALL, "installation=shop"), "Deployment")
    for role, deployment in deployments.items():
        given = environment(deployment)
        assert role in GRANTS
        assert given["STOPLOSS_KAFKA_USER"] == f"stoploss-shop-{role}"
        assert given["STOPLOSS_KAFKA_PROTOCOL"] == "SASL_SSL"
        for name in ("STOPLOSS_KAFKA_PASSWORD_FILE", "STOPLOSS_KAFKA_CA_FILE"):
            assert Path(given[name]).name in mounted(deployment, Path(given[name]).parent)


def mounted(deployment: dict[str, Any], folder: Path) -> set[str]:
    """Names of the files in a folder of the container."""
    (container,) = pod(deployment)["containers"]
    [name] = [mount["name"] for mount in container["volumeMounts"] if mount["mountPath"] == str(folder)]
    [volume] = [volume for volume in pod(deployment)["volumes"] if volume["name"] == name]
    return {item["path"] for item in volume["secret"]["items"]}


def test_of_the_secret_each_role_is_given_what_it_needs_and_the_judge_alone_can_sign() -> None:
    for role, deployment in of_kind(rendered(*ALL), "Deployment").items():
        stores = {f"{role}.clickhouse-password"} if role in ("recorder", "resolver") else set()
        assert entries(deployment) == {f"{role}.kafka-password", "ca.crt", *stores, *KEYS_OF.get(role, ())}


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_SSL"])
def test_a_secret_is_never_mounted_whole(protocol: str) -> None:
    """Where nothing of it is named, Kubernetes mounts all of it."""
    for role, deployment in of_kind(rendered(*ALL, f"kafka.protocol={protocol}"), "Deployment").items():
        assert (f"{role}.kafka-password" in entries(deployment)) == (protocol == "SASL_SSL")
        assert ("STOPLOSS_KAFKA_USER" in environment(deployment)) == (protocol == "SASL_SSL")
        assert ("ca.crt" in entries(deployment)) == (protocol != "PLAINTEXT")


def test_the_courier_alone_is_given_the_files_of_alerts() -> None:
    deployments = of_kind(rendered(*ALL, "alerts.files={alerts.yaml,pagerduty}"), "Deployment")
    assert [role for role, deployment in deployments.items() if "pagerduty" in entries(deployment)] == ["courier"]


def test_each_role_reaches_only_what_it_works_with() -> None:
    policies = of_kind(rendered(*ALL), "NetworkPolicy")
    assert set(policies) == {*ROLES, "retention"}
    stores = {role for role, policy in policies.items() if 8443 in reached(policy)}
    assert stores == {"recorder", "resolver", "retention"}
    assert "ingress" not in policies["retention"]["spec"]
    assert {role for role, policy in policies.items() if 443 in reached(policy)} == {"courier"}


def reached(policy: dict[str, Any]) -> set[int]:
    """Ports of other machines."""
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_a_job_says_each_hour_how_long_rows_stay_with_its_own_passwords_alone() -> None:
    """P3"""
    cron = of_kind(rendered("installation=shop"), "CronJob")["retention"]["spec"]
    assert (cron["schedule"], cron["concurrencyPolicy"]) == ("7 * * * *", "Forbid")
    job = cron["jobTemplate"]
    (container,) = pod(job)["containers"]
    assert container["args"] == ["retention"]
    assert environment(job)["STOPLOSS_KAFKA_USER"] == "stoploss-shop-retention"
    assert environment(job)["STOPLOSS_CLICKHOUSE_URL"] == "https://retention@clickhouse:8443"
    assert entries(job) == {"retention.kafka-password", "retention.clickhouse-password", "ca.crt"}
    of_role = pod(of_kind(rendered(), "Deployment")["recorder"])
    assert container["securityContext"] == of_role["containers"][0]["securityContext"]
    assert pod(job)["securityContext"] == of_role["securityContext"]
    assert not pod(job)["automountServiceAccountToken"]


def test_what_is_turned_off_is_not_there() -> None:
    off = ("networkPolicy.enabled=false", "roles.judge.replicas=1", "roles.joiner.replicas=0", "retention.schedule=")
    documents = rendered(*off)
    assert not of_kind(documents, "NetworkPolicy")
    assert not of_kind(documents, "CronJob")
    assert set(of_kind(documents, "PodDisruptionBudget")) == {"intake"}
    assert "joiner" not in of_kind(documents, "Deployment")


def test_helm_refuses_a_wrong_value_in_words() -> None:
    done = asked("kafka.protocol=SASL_PLAINTEXT")
    assert done.returncode != 0
    assert "protocol" in done.stderr
