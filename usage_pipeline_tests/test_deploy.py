"""The files of ``deploy/`` name only what there is, run nothing as root, and hold no secret. They are read, not run."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import yaml

from usage_pipeline.cli.app import app
from usage_pipeline.service.app import build_app

CHECKOUT: Final = Path(__file__).parents[1]
DEPLOY: Final = CHECKOUT / "deploy"
MANIFESTS: Final = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
USER: Final = 10001
POSTGRES_ITS_OWN: Final = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD"}
COMPOSE_ITS_OWN: Final = {"POSTGRES_PASSWORD", "PROVIDER_KEY_FILE"}
SECRETS: Final = {
    "USAGE_DATABASE_URL",
    "DAGSTER_POSTGRES_URL",
    "USAGE_ENCRYPTION_KEYS",
    "USAGE_ALERT_URLS",
    "CRON_SECRET",
    "USAGE_METRICS_TOKEN",
}
OF_DAGSTER: Final = {"/server_info"}
"""Paths of the webserver; the daemon's end-to-end test asks for it."""


def _documented() -> set[str]:
    return set(re.findall(r"`([A-Z][A-Z0-9_]+)`", (CHECKOUT / "docs" / "settings.md").read_text()))


def _compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def _documents() -> list[dict[str, Any]]:
    return [document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())]


def _of_kind(kind: str) -> list[dict[str, Any]]:
    return [document for document in _documents() if document["kind"] == kind]


def _pods() -> list[dict[str, Any]]:
    return [document["spec"]["template"] for kind in ("Deployment", "Job") for document in _of_kind(kind)]


def _containers() -> list[dict[str, Any]]:
    return [one for pod in _pods() for list_ in ("initContainers", "containers") for one in pod["spec"].get(list_, [])]


def _ours() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in _compose()["services"].items() if name != "postgres"}


def _dockerfile() -> str:
    return (DEPLOY / "Dockerfile").read_text()


def _commands() -> list[list[str]]:
    """What every container runs, its probes too."""
    found = [container["command"] for container in _containers()]
    found += [
        container[probe]["exec"]["command"]
        for container in _containers()
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if "exec" in container.get(probe, {})
    ]
    found += [service["command"] for service in _ours().values()]
    found += [service["healthcheck"]["test"][1:] for service in _ours().values() if "healthcheck" in service]
    return found


def _known_options(words: Sequence[str]) -> None:
    """Fail unless ``usage-pipeline`` has this command with these options."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands") and rest:
        assert rest[0] in command.commands, words
        command = command.commands[rest.pop(0)]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= options, words


def _paths_asked_for() -> Iterator[tuple[int, str]]:
    """The port and the path of every probe over HTTP."""
    for container in _containers():
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            asked = container.get(probe, {}).get("httpGet")
            if asked:
                assert asked["port"] == container["ports"][0]["name"]
                yield container["ports"][0]["containerPort"], asked["path"]
    for service in _ours().values():
        for port, path in re.findall(r"127\.0\.0\.1:(\d+)(/\w+)", str(service.get("healthcheck", ""))):
            yield int(port), path


def test_every_variable_is_a_documented_one() -> None:
    compose, documented = _compose(), _documented()
    for name, service in _ours().items():
        assert set(service["environment"]) <= documented, name
    assert set(compose["services"]["postgres"]["environment"]) == POSTGRES_ITS_OWN
    asked_for = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    assert asked_for <= documented | COMPOSE_ITS_OWN
    for document in [*_of_kind("ConfigMap"), *_of_kind("Secret")]:
        assert set(document.get("data") or document["stringData"]) <= documented
    for line in re.findall(r"^ENV (.+)$", _dockerfile(), re.MULTILINE):
        assert {pair.partition("=")[0] for pair in line.split()} <= documented | {"PATH"}


def test_every_program_exists_and_takes_its_words() -> None:
    programs = {"usage-pipeline", "dagster-webserver", "dagster-daemon"}
    ran = set()
    for command in _commands():
        program, *words = command
        ran.add(program)
        if program == "usage-pipeline":
            _known_options(words)
        elif program == "cp":
            assert words == ["/opt/usage-pipeline/dagster.yaml", "/srv/dagster/"]
        else:
            assert program in programs | {"python"}
    assert programs <= ran


def test_dagsters_own_commands_take_their_words() -> None:
    from dagster._daemon.cli import liveness_check_command, run_command
    from dagster_webserver.cli import dagster_webserver

    known = {
        ("dagster-daemon", "run"): run_command,
        ("dagster-daemon", "liveness-check"): liveness_check_command,
        ("dagster-webserver", "--workspace"): dagster_webserver,
    }
    seen = set()
    for command in _commands():
        if command[0].startswith("dagster-"):
            seen.add((command[0], command[1]))
            options = {option for parameter in known[command[0], command[1]].params for option in parameter.opts}
            assert {word for word in command if word.startswith("--")} <= options
    assert seen == set(known)


def test_every_probe_asks_a_path_that_is_served() -> None:
    def nothing() -> Any:
        raise AssertionError("only its routes are looked at")

    served = {route.path for route in build_app(nothing).routes if hasattr(route, "path")}
    asked = set(_paths_asked_for())
    assert {path for port, path in asked if port == 8733} == {"/healthz", "/readyz"} <= served
    assert {path for port, path in asked if port == 3000} == OF_DAGSTER
    assert {port for port, _ in asked} == {3000, 8733}


def test_nothing_runs_as_root_or_may_become_it() -> None:
    assert re.findall(r"^USER (.+)$", _dockerfile(), re.MULTILINE) == [f"{USER}:{USER}"]
    for pod in _pods():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert (security["runAsUser"], security["seccompProfile"]["type"]) == (USER, "RuntimeDefault")
        assert pod["spec"]["automountServiceAccountToken"] is False
    for container in _containers():
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}
    for service in _ours().values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_every_container_has_bounds_and_every_server_its_probes() -> None:
    for container in _containers():
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    for deployment in _of_kind("Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "livenessProbe"} <= set(container), container["name"]
    assert all("healthcheck" in service for name, service in _ours().items() if name != "migrate")


def test_what_belongs_together_has_the_same_labels_and_names() -> None:
    for deployment in _of_kind("Deployment"):
        labels = deployment["spec"]["selector"]["matchLabels"]
        assert labels == deployment["metadata"]["labels"] == deployment["spec"]["template"]["metadata"]["labels"]
    for service in _of_kind("Service"):
        (target,) = [d for d in _of_kind("Deployment") if d["metadata"]["name"] == service["metadata"]["name"]]
        assert service["spec"]["selector"] == target["spec"]["selector"]["matchLabels"]
    for container in [one for pod in _pods() for one in pod["spec"]["containers"]]:
        assert container["envFrom"] == [
            {"configMapRef": {"name": "usage-pipeline"}},
            {"secretRef": {"name": "usage-pipeline"}},
        ]
    for pod in _pods():
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes


def test_every_process_has_the_same_settings() -> None:
    # Else the audit log would note them as changed whenever another process starts.
    environments = [service["environment"] for service in _ours().values()]
    assert environments == [environments[0]] * len(environments)


def test_there_is_one_daemon_and_never_two() -> None:
    (daemon,) = [d for d in _of_kind("Deployment") if d["metadata"]["labels"]["part"] == "daemon"]
    assert daemon["spec"]["replicas"] == 1
    assert daemon["spec"]["strategy"] == {"type": "Recreate"}


def test_no_value_of_a_secret_is_in_any_file() -> None:
    (secret,) = _of_kind("Secret")
    assert set(secret["stringData"]) == SECRETS
    assert set(secret["stringData"].values()) == {""}
    for name, service in _ours().items():
        for variable in SECRETS & set(service["environment"]):
            assert service["environment"][variable].startswith(f"${{{variable}:"), name
    assert not SECRETS & set(_of_kind("ConfigMap")[0]["data"])


def test_the_image_has_what_the_lock_names_and_what_it_copies_exists() -> None:
    text = _dockerfile()
    assert "--require-hashes -r /build/requirements.lock" in text
    assert "://" not in text
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"python:3.11-slim"}
    for line in re.findall(r"^COPY (?!--from)(.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (CHECKOUT / source).exists(), source
    images = {container["image"] for container in _containers()} | {service["image"] for service in _ours().values()}
    assert len(images) == 1
    assert all(image in text for image in images)


@pytest.mark.parametrize(
    "path", [DEPLOY / "README.md", DEPLOY / "compose.yaml", *MANIFESTS], ids=lambda path: path.name
)
def test_every_file_that_is_named_is_there(path: Path) -> None:
    named = re.findall(r"(?<![\w./-])((?:deploy|docs|kubernetes)/[\w./-]+\.(?:yaml|md))", path.read_text())
    for name in named:
        assert (CHECKOUT / name).exists() or (DEPLOY / name).exists(), name
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert Path(os.path.normpath(path.parent / target)).exists(), target
