"""The configuration file: what is accepted, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtagent.agent.settings import Settings, load, parse
from rtagent.wire.toml.schema import SettingsError


def problems(text: str) -> list[tuple[int, str, str]]:
    with pytest.raises(SettingsError) as caught:
        parse(text)
    return [(problem.line, problem.key, problem.text) for problem in caught.value.problems]


def test_an_empty_file_is_the_defaults() -> None:
    assert Settings() == parse("")


def test_every_key_reaches_its_setting() -> None:
    text = """
[dataplane]
kind = "memory"
socket = "/run/other/api.sock"
[[pairs]]
host = "e0"
vpp = "host-vpp0"
[[pairs]]
host = "e1"
vpp = "host-vpp1"
[mirror]
ignore = ["docker0", "cali*"]
[kernel]
netns = "lb"
receive_buffer_bytes = 4096
[control]
socket = "/run/a.sock"
group = "wheel"
[metrics]
listen = "[::1]:9101"
[log]
level = "debug"
format = "json"
"""
    expected = Settings(
        dataplane="memory",
        vpp_socket="/run/other/api.sock",
        pairs={"e0": "host-vpp0", "e1": "host-vpp1"},
        ignore=("docker0", "cali*"),
        netns="lb",
        receive_buffer_bytes=4096,
        control="/run/a.sock",
        control_group="wheel",
        metrics="[::1]:9101",
        log_level="debug",
        log_format="json",
    )
    assert expected == parse(text)


def test_all_problems_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = '[dataplane]\nkind = "vp"\nsokcet = "/a"\n\n[[pairs]]\nhost = "e0"\n[lgo]\n'
    assert problems(text) == [
        (2, "dataplane.kind", '"vp" is not valid (did you mean vpp?); write "vpp", "memory" or "none"'),
        (3, "dataplane.sokcet", "unknown key; did you mean socket?"),
        (5, "pairs[1].vpp", 'is missing; write the interface\'s name, such as vpp = "host-vpp0"'),
        (7, "lgo", "unknown table; did you mean log?"),
    ]


@pytest.mark.parametrize(
    ("text", "line", "key"),
    [
        ("[dataplane]\nsocket = 'api.sock'", 2, "dataplane.socket"),
        ("[dataplane]\n\nsocket = '/" + "x" * 107 + "'", 3, "dataplane.socket"),
        ("dataplane = 3", 1, "dataplane"),
        ("pairs = 3", 1, "pairs"),
        ("[[pairs]]\nhost = 'sixteen-letters!'\nvpp = 'a'", 2, "pairs[1].host"),
        ("[[pairs]]\nhost = 'e0'\nvpp = 'a'\n[[pairs]]\nhost = 'e0'\nvpp = 'b'", 5, "pairs[2].host"),
        ("[[pairs]]\nhost = 'e0'\nvpp = 'a'\n[[pairs]]\nhost = 'e1'\nvpp = 'a'", 6, "pairs[2].vpp"),
        ("[mirror]\nignore = 'docker0'", 2, "mirror.ignore"),
        ("[kernel]\nreceive_buffer_bytes = true", 2, "kernel.receive_buffer_bytes"),
        ("[metrics]\nlisten = '192.0.2.1:80'", 2, "metrics.listen"),
        ("[metrics]\nlisten = '127.0.0.1:0'", 2, "metrics.listen"),
        ("[metrics]\nlisten = 'localhost:80'", 2, "metrics.listen"),
        ("metrics.listen = 3", 1, "metrics.listen"),
        ("a = [", 1, ""),
        ("\n\na = = 1", 3, ""),
    ],
)
def test_a_problem_names_its_line_and_key(text: str, line: int, key: str) -> None:
    assert [(line, key)] == [(problem[0], problem[1]) for problem in problems(text)]


def test_a_file_that_is_not_text_is_refused_with_the_line(tmp_path: Path) -> None:
    file = tmp_path / "rtagent.toml"
    file.write_bytes(b"[log]\nlevel = '\xff'\n")
    with pytest.raises(SettingsError) as caught:
        load(file)
    assert f"{file}:2: not UTF-8 text: save the file as UTF-8" == str(caught.value)


def test_a_missing_file_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")


def test_links_are_ignored_by_glob() -> None:
    settings = Settings(ignore=("docker0", "cali*"))
    assert [settings.ignores(name) for name in ("docker0", "cali12", "docker01")] == [True, True, False]
