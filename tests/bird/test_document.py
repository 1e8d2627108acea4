"""The examples of docs/bird-client.md run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bird.pair import Pair
from tests.lab import birds
from tests.lab.lab import Lab

DOCUMENT = Path(__file__).parents[2] / "docs/bird-client.md"
SHOWN = (
    [
        "2.0.12 192.0.2.1 20",
        "right BGP up",
        "192.0.2.2 Established",
        "ipv4 UP 1 1 RouteLimit(limit=10,",
        "192.0.2.2 Up",
    ],
    ["198.51.105.0/24 unicast 192.0.2.2 given 65001", "refused: 203.0.113.128/25 from right", "the first: 198.51.10"],
    [],
    ["undone not up: nobody, absent"],
)


@pytest.mark.skipif(not birds.INSTALLED.present, reason=birds.INSTALLED.absence)
def test_every_example_runs_and_shows_what_it_says() -> None:
    examples = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    with Lab() as lab:
        pair = Pair(lab, birds.INSTALLED)
        pair.start()
        ours = lab.folder / "ours"
        ours.mkdir()
        (ours / "peers.conf").touch()
        config = pair.left.config
        config.write_text(f'{config.read_text()}include "{ours}/peers.conf";\n')
        places = {
            "/run/bird/bird.ctl": pair.left.socket,
            "/etc/bird/bird.conf": config,
            "/etc/bird/ours": ours,
            "/var/lib/rtagent": lab.folder,
        }
        version = ".".join(map(str, birds.INSTALLED.version))
        for example, shown in zip(examples, SHOWN, strict=True):
            code = example
            for path, here in places.items():
                code = code.replace(path, str(here))
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
            assert (0, "") == (done.returncode, done.stderr)
            assert [] == [text for text in shown if text.replace("2.0.12", version) not in done.stdout], done.stdout
