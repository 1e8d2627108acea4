"""The releases that the other tests run against are what their names say, and start."""

from __future__ import annotations

from tests.lab.bird import Bird
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab

MAJOR_OF_PACKAGE = {"bird2": 2, "bird3": 3}


def test_a_release_starts_and_says_its_version(bird_release: BirdRelease) -> None:
    with Lab() as lab:
        config = lab.folder / "bird.conf"
        config.write_text("router id 192.0.2.1; protocol device {}\n")
        bird = Bird(lab, lab.namespace("bird"), config, bird_release)
        bird.start()
        version = bird_release.version
        assert MAJOR_OF_PACKAGE[bird_release.package] == version[0]
        assert f"BIRD {'.'.join(map(str, version))}" == bird.ctl("show status").partition("\n")[0]
