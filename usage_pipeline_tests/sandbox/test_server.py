from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import httpx
import pytest

from usage_pipeline.errors import TransientError
from usage_pipeline.sandbox import DEFAULT_OPENAI_KEY, Fault, FaultKind, SandboxServer, Switches, World
from usage_pipeline.sandbox.__main__ import main
from usage_pipeline_tests.sandbox.conftest import MONDAY_S, NOW


def test_a_stopped_server_leaves_no_thread_and_no_port() -> None:
    before = threading.active_count()
    with SandboxServer(World(1, NOW)) as server:
        url = f"{server.openai_base_url}/organization/costs"
        assert httpx.get(url).status_code == 401
    assert threading.active_count() == before
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    server.stop()


def test_it_stops_while_an_answer_is_still_slow() -> None:
    slow = Switches(faults=(Fault(FaultKind.SLOW, delay_s=0.6),))
    with SandboxServer(World(1, NOW), switches=slow) as server:
        url = f"{server.openai_base_url}/organization/costs"
        caller = threading.Thread(target=httpx.get, args=(url,))
        caller.start()
        while not server.requests:
            pass
    caller.join()


def test_a_taken_port_is_told() -> None:
    with SandboxServer(World(1, NOW)) as server, pytest.raises(TransientError, match="sandbox_port_taken"):
        SandboxServer(World(1, NOW), port=server.port).start()


def test_it_runs_in_the_foreground_until_a_signal() -> None:
    command = [sys.executable, "-m", "usage_pipeline.sandbox", "--seed", "7", "--now", NOW.isoformat()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().split()[3]
        answer = httpx.get(
            f"{url}/organization/costs",
            params={"start_time": MONDAY_S},
            headers={"authorization": f"Bearer {DEFAULT_OPENAI_KEY}"},
        )
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=10)
    assert answer.status_code == 200
    assert (process.returncode, errors) == (0, "")


def test_a_clock_without_a_zone_ends_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        assert main(["--now", "2026-11-19T10:00:00"]) == 2
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert capsys.readouterr().err.startswith("[sandbox_clock_naive]")
