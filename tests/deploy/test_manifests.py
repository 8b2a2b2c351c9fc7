"""What `deploy/` says agrees with what streamward does: no container engine is needed to be wrong about a path."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from streamward.gateway.config import Config, load, parse
from streamward.gateway.control import ADMIN_TOKEN
from streamward.gateway.places import OPEN_PATHS
from streamward.gateway.serve import GRACE_BEYOND_DRAIN_S

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
ENVIRON = {
    "STREAMWARD_API_KEY": "k", "OPENAI_API_KEY": "k", "STREAMWARD_STREAMS": "redis://redis:6379/0",
    "STREAMWARD_STORAGE": "postgresql://streamward:p@postgres:5432/streamward",
}  # fmt: skip


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def all_of(kind: str) -> list[dict[str, Any]]:
    paths = [*KUBERNETES.glob("*.yaml"), *(DEPLOY / "knative").glob("*.yaml")]
    return [one for path in paths for one in documents(path) if one["kind"] == kind]


def one_of(kind: str, name: str) -> dict[str, Any]:
    return next(one for one in all_of(kind) if one["metadata"]["name"] == name)


def seconds(text: str) -> int:
    return int(text.removesuffix("s"))


def config() -> Config:
    return load(DEPLOY / "streamward.toml", ENVIRON)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def gateway_pod() -> dict[str, Any]:
    return one_of("Deployment", "gateway")["spec"]["template"]["spec"]


def test_the_configuration_is_one_that_the_gateway_takes():
    """With the variables that compose and the Secret set, and nothing else."""
    loaded = config()

    assert loaded.streams.store == ENVIRON["STREAMWARD_STREAMS"]
    assert loaded.storage.url == ENVIRON["STREAMWARD_STORAGE"]
    assert loaded.auth.required


def test_kubernetes_has_the_same_configuration():
    text = one_of("ConfigMap", "streamward")["data"]["streamward.toml"]

    assert parse(text, "config.yaml", ENVIRON) == config()


def test_the_secret_and_compose_set_every_variable_that_is_named(compose: dict[str, Any]):
    named = set(re.findall(r'"env:(\w+)"', (DEPLOY / "streamward.toml").read_text()))
    secret = documents(KUBERNETES / "secret.example.yaml")[0]["stringData"]
    given = compose["services"]["gateway-1"]["environment"]
    asked = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (DEPLOY / "env.example").read_text(), re.MULTILINE))

    assert named <= set(secret)
    assert named <= set(given)
    assert asked == offered
    assert ADMIN_TOKEN in secret
    assert ADMIN_TOKEN in given


def test_all_probes_ask_for_paths_that_answer_without_a_key():
    pods = [gateway_pod(), one_of("Service", "functions")["spec"]["template"]["spec"]]
    probes = [probe for pod in pods for name, probe in pod["containers"][0].items() if name.endswith("Probe")]
    paths = [probe["httpGet"]["path"] for probe in probes]

    assert len(paths) == 5
    assert set(paths) <= OPEN_PATHS
    assert "/healthz" in (DEPLOY / "Dockerfile").read_text()


def test_whoever_stops_a_gateway_waits_longer_than_it_drains(compose: dict[str, Any]):
    """Kubernetes, compose and systemd send SIGKILL at last; by then every stream must have been told."""
    needed = config().server.drain_s + GRACE_BEYOND_DRAIN_S
    pod = gateway_pod()
    pause = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    unit = (DEPLOY / "systemd/streamward@.service").read_text()
    stop = re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)

    assert pod["terminationGracePeriodSeconds"] > pause + needed
    assert all(seconds(compose["services"][name]["stop_grace_period"]) > needed for name in ("gateway-1", "gateway-2"))
    assert stop is not None
    assert int(stop[1]) > needed


def test_selectors_find_their_pods():
    pods = [
        one["spec"]["template"]["metadata"]["labels"] for kind in ("Deployment", "StatefulSet") for one in all_of(kind)
    ]  # fmt: skip
    services = [one for one in all_of("Service") if one["apiVersion"] == "v1"]
    budgets = all_of("PodDisruptionBudget")
    selectors = [one["spec"]["selector"] for one in services] + [one["spec"]["selector"]["matchLabels"] for one in budgets]

    assert len(selectors) == 4
    assert all(selector in pods for selector in selectors)
    assert all(one["spec"]["selector"]["matchLabels"] in pods for one in [*all_of("Deployment"), *all_of("StatefulSet")])
    target = all_of("HorizontalPodAutoscaler")[0]["spec"]["scaleTargetRef"]
    assert one_of(target["kind"], target["name"])


def test_services_are_named_as_the_urls_name_them(compose: dict[str, Any]):
    secret = documents(KUBERNETES / "secret.example.yaml")[0]["stringData"]
    given = compose["services"]["gateway-1"]["environment"]
    urls = [secret["STREAMWARD_STREAMS"], secret["STREAMWARD_STORAGE"]]
    hosts = {urlsplit(url).hostname for url in urls}
    names = {one["metadata"]["name"] for one in all_of("Service")}
    servers = re.findall(r"^\s*server ([\w-]+):8787", (DEPLOY / "nginx/nginx.conf").read_text(), re.MULTILINE)

    assert hosts == {"redis", "postgres"}
    assert hosts <= names
    assert "redis://redis:" in given["STREAMWARD_STREAMS"]
    assert hosts | set(servers) <= set(compose["services"])
    assert len(servers) == 2


def test_the_image_copies_what_is_there_and_not_ignored():
    text = (DEPLOY / "Dockerfile").read_text()
    kept = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split() if line.startswith("!")}
    copies = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    sources = [source for copy in copies for source in copy]

    assert len(sources) >= 8
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert {source.partition("/")[0] for source in sources} <= kept
    assert "USER 10001:10001" in text
    assert str(gateway_pod()["securityContext"]["runAsUser"]) == "10001"


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not here")
def test_kustomize_builds_everything():
    done = subprocess.run(["kubectl", "kustomize", str(KUBERNETES)], capture_output=True, text=True, check=False)
    built = list(yaml.safe_load_all(done.stdout))

    assert done.returncode == 0, done.stderr
    assert {one["metadata"].get("namespace", "streamward") for one in built} == {"streamward"}
    assert len(built) == 10


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not here")
def test_systemd_takes_the_unit(tmp_path: Path):
    """Verified with a program that exists: the one it names is made by the installation."""
    text = (DEPLOY / "systemd/streamward@.service").read_text()
    program = tmp_path / "streamward"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "streamward@.service"
    unit.write_text(text.replace("/opt/streamward/bin/streamward", str(program)))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)

    assert "/opt/streamward/bin/streamward serve" in text
    assert (done.returncode, done.stderr) == (0, "")
