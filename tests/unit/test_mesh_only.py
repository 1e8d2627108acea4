"""An agent that only keeps the mesh: what it needs, and what it must not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtagent.agent.mesh_settings import MeshSettings, MqttSettings
from rtagent.agent.mesh_sources import sources
from rtagent.cli.main import main
from rtagent.wire.toml.schema import SettingsError


def test_without_mirror_and_mesh_there_is_nothing_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "rtagent.toml"
    config.write_text('[dataplane]\nkind = "none"\n')
    assert 2 == main(["run", "--config", str(config)])
    assert 'dataplane.kind = "none" and no [mesh]: there is nothing to do' in capsys.readouterr().err


def test_it_imports_neither_vectors_nor_clients_of_sources_that_are_off() -> None:
    code = (
        "import sys, rtagent.cli.main, rtagent.cli.run; print(*{'numpy', 'aiomqtt', 'lightkube'} & sys.modules.keys())"
    )
    assert "\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory; openssl rand -hex 32 makes a secret"),
        ("short", "shorter than"),
    ],
)
def test_a_secret_that_is_none_is_told_with_its_file_and_the_remedy(
    tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_text(content)
    settings = MeshSettings(asn=64512, id="n1", mqtt=MqttSettings("mqtt://broker.example", str(file)))
    with pytest.raises(SettingsError, match=said) as caught:
        sources(settings, "m1")
    assert str(file) in str(caught.value)
