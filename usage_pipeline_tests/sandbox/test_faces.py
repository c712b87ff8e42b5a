from __future__ import annotations

import pytest

from usage_pipeline.sandbox import SandboxServer
from usage_pipeline.sandbox.exchange import Refusal
from usage_pipeline.sandbox.faces import FACES, face_named, face_of
from usage_pipeline_tests.sandbox.conftest import COSTS, MESSAGES, USAGE


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (USAGE, "openai"),
        (COSTS, "openai"),
        ("/v1/organization/projects/proj_a/api_keys", "openai"),
        ("/v1/usage", "openai_legacy"),
        (MESSAGES, "anthropic"),
        ("/v1/organizations/poems", "anthropic"),
        ("/v1/organization/poems", "openai"),
        ("/", "openai"),
    ],
)
def test_a_path_belongs_to_one_face(path: str, name: str) -> None:
    assert face_of(path).name == name


def test_a_parameter_in_a_path_is_one_segment() -> None:
    face = face_named("openai")
    _, parts = face.answerer("GET", "/v1/organization/projects/proj_a/api_keys")
    assert parts == {"project_id": "proj_a"}
    for path in ("/v1/organization/projects//api_keys", "/v1/organization/projects/a/b/api_keys"):
        with pytest.raises(Refusal) as refused:
            face.answerer("GET", path)
        assert refused.value.answer.status == 404


def test_every_face_refuses_another_method_and_has_a_body_for_a_forced_status() -> None:
    for face in FACES:
        path = next(iter(face.gets))
        with pytest.raises(Refusal) as refused:
            face.answerer("DELETE", path)
        assert refused.value.answer.status == 405
        assert all(face.fault_body(status) for status in (429, 500, 503))


def test_each_face_has_a_base_url_and_an_unknown_one_none(running: SandboxServer) -> None:
    assert running.base_url("openai") == running.openai_base_url
    assert running.base_url("anthropic") == running.anthropic_base_url
    with pytest.raises(KeyError):
        running.base_url("nobody")
