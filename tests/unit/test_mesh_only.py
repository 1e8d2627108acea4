"""An agent that only keeps the mesh: what it needs, and what it must not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rtagent.agent.mesh_settings import MeshSettings, MqttSettings
from rtagent.agent.mesh_sources import sources
from rtagent.wire.toml.schema import SettingsError


def rtagent(*arguments: str) -> tuple[int, str]:
    """Run the command and return its status and what it says on standard error."""
    done = subprocess.run([sys.executable, "-m", "rtagent", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


def test_without_mirror_and_mesh_there_is_nothing_to_run(tmp_path: Path) -> None:
    config = tmp_path / "rtagent.toml"
    config.write_text('[dataplane]\nkind = "none"\n')
    status, said = rtagent("run", "--config", str(config))
    assert 2 == status
    assert 'dataplane.kind = "none" and no [mesh]: there is nothing to do' in said


def test_it_imports_neither_vectors_nor_clients_of_sources_that_are_off() -> None:
    code = (
        "import sys, rtagent.cli.main, rtagent.cli.run; "
        "print(*{'numpy', 'aiomqtt', 'lightkube', 'rich'} & sys.modules.keys())"
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


def test_where_nothing_is_mirrored_there_is_no_data_plane_to_look_at(tmp_path: Path) -> None:
    config = tmp_path / "rtagent.toml"
    config.write_text('[dataplane]\nkind = "none"\n[mesh]\nasn = 64512\n')
    status, said = rtagent("diff", "--config", str(config))
    assert 2 == status
    assert "nothing is mirrored here" in said
