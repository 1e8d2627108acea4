"""What is recorded in tests/golden/mesh is what each BIRD takes, without a word."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from rtagent.agent import templates
from rtagent.core.mesh.options import Options
from rtagent.core.mesh.template import Templates
from rtagent.core.mesh.text import Configuration
from tests.golden.mesh.record import HERE, dialect_of, scenarios
from tests.lab.birds import BirdRelease
from tests.meshes import configured, mesh


def said_about(folder: Path, release: BirdRelease) -> tuple[int, str]:
    """Let BIRD parse the mesh in this folder; return its status and what it said."""
    main = folder / "bird.conf"
    main.write_text('log "/dev/null" all;\nrouter id 192.0.2.1;\nprotocol device {}\ninclude "mesh.conf";\n')
    done = subprocess.run([release.bird, "-p", "-c", str(main)], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def written(folder: Path, made: Configuration) -> Path:
    for name, text in made.files.items():
        (folder / name).write_text(text)
    return folder


def test_bird_takes_the_recorded_text(bird_release: BirdRelease, tmp_path: Path) -> None:
    spoken = [name for name in scenarios() if name.endswith(f"-{dialect_of(bird_release.version)}")]
    assert dict.fromkeys(spoken, (0, "")) == {
        name: said_about(shutil.copytree(HERE / name, tmp_path / name), bird_release) for name in spoken
    }


def test_bird_takes_the_operators_own_text_and_names_the_line_that_is_wrong(
    bird_release: BirdRelease, tmp_path: Path
) -> None:
    own = {
        "own-first": "define MINE = 10.9.0.0/16;\n",
        "own-import": "if net = MINE then return true;\n",
        "own-export": "if net = MINE then return true;\n",
        "own-session": "ttl security off;\n",
        "own-last": "protocol static mine { ipv4; route MINE blackhole; }\n",
    }
    made = configured(mesh(2, reflectors=1), "node-3", version=bird_release.version, templates=_with(own))
    assert (0, "") == said_about(written(tmp_path, made), bird_release)
    made = configured(mesh(2), "node-2", version=bird_release.version, templates=_with({"own-last": "protokol x;"}))
    status, said = said_about(written(tmp_path, made), bird_release)
    line = len(made.files["mesh.conf"].splitlines())
    assert (1, True) == (status, f"mesh.conf:{line}:" in said), said


def test_bird_takes_long_and_odd_names(bird_release: BirdRelease, tmp_path: Path) -> None:
    members = [
        one._replace(id=f'{one.id}.{"x" * length}é/"') for one, length in zip(mesh(3), (1, 40, 90, 45), strict=True)
    ]
    options = Options(authentication="md5")
    made = configured(tuple(members), members[0].id, options, version=bird_release.version)
    assert (0, "") == said_about(written(tmp_path, made), bird_release)


def _with(own: dict[str, str]) -> Templates:
    return Templates({**templates.shipped(), **own})
