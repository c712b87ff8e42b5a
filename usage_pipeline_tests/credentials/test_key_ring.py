"""Where the key-encryption keys come from, and that they stay out of sight."""

from __future__ import annotations

import base64
import copy
import os
import pickle
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given
from hypothesis import strategies as st

from usage_pipeline.credentials.key_ring import (
    ENCRYPTION_KEYS_VARIABLE,
    KEY_FILE_NAME,
    KeyEncryptionKey,
    KeyRing,
    LoadedKeyRing,
    load_key_ring,
    new_key_entry,
)
from usage_pipeline.errors import InvalidInputError, PermanentError
from usage_pipeline_tests.credentials.material import entry

_MATERIAL = bytes(range(32))
_ENCODED = base64.b64encode(_MATERIAL).decode()


def _opens_what_the_other_seals(one: KeyRing, other: KeyRing) -> bool:
    try:
        return other.newest.decrypt(b"n" * 12, one.newest.encrypt(b"n" * 12, b"x", b"a"), b"a") == b"x"
    except InvalidTag:
        return False


def test_the_variable_gives_the_ring_newest_first_and_makes_no_file(tmp_path: Path) -> None:
    loaded = load_key_ring({ENCRYPTION_KEYS_VARIABLE: f"{entry('k2')}, {entry('k1')}"}, tmp_path)
    assert (loaded.source, loaded.created) == ("environment", None)
    assert loaded.ring.ids == ("k2", "k1")
    assert loaded.ring.newest.id == "k2"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoded", [_ENCODED, _ENCODED.rstrip("="), base64.urlsafe_b64encode(b"\xff" * 32).decode()])
def test_a_key_may_be_written_in_either_base64_alphabet_with_or_without_padding(encoded: str) -> None:
    assert KeyRing.parse(f"k1:{encoded}").ids == ("k1",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no key"),
        ("  \n", "no key"),
        (f"k2:{_ENCODED},", "entry 2"),
        (f",k2:{_ENCODED}", "entry 1"),
        (_ENCODED, "entry 1"),
        (f":{_ENCODED}", "entry 1"),
        (f"{_ENCODED}:k1", "entry 1"),
        (f"{_ENCODED.rstrip('=')}:k1", "entry 1"),
        (f"k 1:{_ENCODED}", "entry 1"),
        (f"k1:{_ENCODED}!", "entry 1"),
        (f"k1:{_ENCODED}:more", "entry 1"),
        ("k1:", "0 bytes"),
        (f"k1:{base64.b64encode(_MATERIAL[:31]).decode()}", "31 bytes"),
        (f"k1:{base64.b64encode(_MATERIAL + b'x').decode()}", "33 bytes"),
        (f"k1:{_ENCODED},{entry('k1', 'other')}", "two keys"),
        (f"k1:{_ENCODED},k2:{_ENCODED}", "same key"),
    ],
)
def test_a_malformed_ring_is_refused_without_showing_a_key(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_key_ring({ENCRYPTION_KEYS_VARIABLE: text}, tmp_path)
    assert caught.value.code == "key_ring_malformed"
    assert says in str(caught.value)
    assert ENCRYPTION_KEYS_VARIABLE in str(caught.value)
    assert _ENCODED[:12] not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@given(st.text(max_size=120))
def test_any_text_is_a_ring_or_gives_the_documented_error(text: str) -> None:
    try:
        outcome = KeyRing.parse(text).ids[0]
    except InvalidInputError as error:
        outcome = error.code
    assert outcome == "key_ring_malformed" or f"{outcome}:" in text.replace(" ", "")


def test_a_ring_without_keys_is_refused() -> None:
    with pytest.raises(InvalidInputError) as caught:
        KeyRing(())
    assert caught.value.code == "key_ring_malformed"


def test_a_ring_shows_its_ids_and_nothing_of_its_keys() -> None:
    ring = KeyRing.parse(f"k1:{_ENCODED}")
    shown = repr(ring) + str(ring.newest) + repr(LoadedKeyRing(ring, "environment", None))
    assert "k1" in shown
    assert _ENCODED[:12] not in shown
    assert repr(_MATERIAL)[2:20] not in shown
    assert copy.deepcopy(ring).newest is ring.newest
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(ring, protocol)
    with pytest.raises(TypeError, match="cannot be pickled"):
        ring.newest.__getstate__()


@pytest.mark.parametrize(("key_id", "material"), [("k 1", _MATERIAL), ("", _MATERIAL), ("k1", b"short")])
def test_a_key_with_a_bad_id_or_length_is_refused(key_id: str, material: bytes) -> None:
    with pytest.raises(InvalidInputError) as caught:
        KeyEncryptionKey(key_id, material)
    assert caught.value.code == "key_ring_malformed"


def test_a_new_entry_is_a_ring_of_one_and_never_the_same_twice() -> None:
    one, other = KeyRing.parse(new_key_entry("2026-01")), KeyRing.parse(new_key_entry("2026-01"))
    assert one.newest.id.startswith("2026-01-")
    assert not one.newest.is_same_key(other.newest)
    with pytest.raises(InvalidInputError):
        new_key_entry("not an id")


def test_without_the_variable_a_private_key_file_is_made_once_and_reported_once(tmp_path: Path) -> None:
    home = tmp_path / "data" / "home"
    first = load_key_ring({}, home)
    again = load_key_ring({}, home)
    assert (first.source, first.created) == ("file", home / KEY_FILE_NAME)
    assert (again.source, again.created) == ("file", None)
    assert _opens_what_the_other_seals(first.ring, again.ring)
    assert stat.S_IMODE((home / KEY_FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in home.iterdir()] == [KEY_FILE_NAME]


def test_the_key_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_key_ring({}, tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / KEY_FILE_NAME).stat().st_mode) == 0o600


def test_the_content_of_the_key_file_moves_into_the_variable_as_it_is(tmp_path: Path) -> None:
    from_file = load_key_ring({}, tmp_path).ring
    text = (tmp_path / KEY_FILE_NAME).read_text()
    moved = load_key_ring({ENCRYPTION_KEYS_VARIABLE: text}, tmp_path / "elsewhere").ring
    assert moved.ids == from_file.ids
    assert _opens_what_the_other_seals(from_file, moved)


def test_a_key_added_as_the_first_line_of_the_key_file_seals_from_then_on(tmp_path: Path) -> None:
    old = load_key_ring({}, tmp_path).ring
    path = tmp_path / KEY_FILE_NAME
    path.write_text(f"{entry('new')}\n{path.read_text()}")
    assert load_key_ring({}, tmp_path).ring.ids == ("new", *old.ids)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601, 0o660])
def test_a_key_file_that_others_can_use_is_refused(mode: int, tmp_path: Path) -> None:
    load_key_ring({}, tmp_path)
    path = tmp_path / KEY_FILE_NAME
    key = path.read_text().split(":")[1].strip()
    path.chmod(mode)
    with pytest.raises(PermanentError) as caught:
        load_key_ring({}, tmp_path)
    assert caught.value.code == "key_file_permissions"
    assert f"{mode:04o}" in str(caught.value)
    assert str(path) in str(caught.value)
    assert key not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense\n", b"k1:\xff\xfe\n", b"\0" * 100])
def test_a_broken_key_file_is_refused_and_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / KEY_FILE_NAME
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(InvalidInputError) as caught:
        load_key_ring({}, tmp_path)
    assert caught.value.code == "key_ring_malformed"
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_something_else_in_the_key_files_place_is_refused(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("folder", "pipe", "dangling", "long")]
    for home in homes:
        home.mkdir()
    (homes[0] / KEY_FILE_NAME).mkdir()
    os.mkfifo(homes[1] / KEY_FILE_NAME, 0o600)
    (homes[2] / KEY_FILE_NAME).symlink_to(tmp_path / "nowhere")
    (homes[3] / KEY_FILE_NAME).touch(0o600)
    (homes[3] / KEY_FILE_NAME).write_bytes(b"x" * 100_000)
    for home in homes:
        with pytest.raises(PermanentError) as caught:
            load_key_ring({}, home)
        assert caught.value.code == "key_file_unreadable"
    assert [path.name for path in homes[2].iterdir()] == [KEY_FILE_NAME]


def test_a_home_that_cannot_hold_a_file_is_a_clear_error() -> None:
    with pytest.raises(PermanentError) as caught:
        load_key_ring({}, Path("/proc/no-such-folder"))
    assert caught.value.code == "key_file_unwritable"
    assert ENCRYPTION_KEYS_VARIABLE in str(caught.value)


@pytest.mark.parametrize("attempt", range(10))
def test_threads_that_race_for_the_key_file_all_get_the_winners_key(attempt: int, tmp_path: Path) -> None:
    racers = 16
    barrier = threading.Barrier(racers)

    def load() -> LoadedKeyRing:
        barrier.wait()
        return load_key_ring({}, tmp_path / "home")

    with ThreadPoolExecutor(racers) as pool:
        loaded = [future.result() for future in [pool.submit(load) for _ in range(racers)]]
    assert len({one.ring.ids for one in loaded}) == 1
    assert all(_opens_what_the_other_seals(loaded[0].ring, one.ring) for one in loaded)
    assert sum(one.created is not None for one in loaded) == 1
    assert [path.name for path in (tmp_path / "home").iterdir()] == [KEY_FILE_NAME]


def test_processes_that_race_for_the_key_file_all_get_the_winners_key(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        "from usage_pipeline.credentials.key_ring import load_key_ring\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "loaded = load_key_ring({}, pathlib.Path(sys.argv[1]))\n"
        "print(loaded.ring.newest.id, loaded.created is not None)\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path / "home")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0].split() for racer in racers]
    assert len({key_id for key_id, _ in answers}) == 1
    assert [made for _, made in answers].count("True") == 1
