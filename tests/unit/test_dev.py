"""``./dev`` as a person meets it: its help, its refusals, the last word of a test run; and that the documents hold."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rtagent.agent.settings import parse
from rtagent.cli.main import parser

ROOT = Path(__file__).parents[2]
VERBS = ("demo", "test", "lint", "bench", "lab", "fuzz", "plugin", "clean")


def dev(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([ROOT / "dev", *arguments], capture_output=True, text=True, check=False, cwd="/")


def test_help_names_every_verb() -> None:
    done = dev("--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert [] == [verb for verb in (*VERBS, "rtagent") if f"  {verb} " not in done.stdout]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_shows_examples(verb: str) -> None:
    done = dev(verb, "--help")
    assert (0, "") == (done.returncode, done.stderr)
    assert f"./dev {verb}" in done.stdout.partition("Example")[2]


def test_without_a_verb_it_says_which_there_are() -> None:
    done = dev()
    assert (2, "") == (done.returncode, done.stdout)
    assert "./dev VERB" in done.stderr


@pytest.mark.parametrize(("typed", "meant"), [("tset", "test"), ("dmeo", "demo"), ("benhc", "bench"), ("cln", "clean")])
def test_an_unknown_verb_is_answered_with_the_nearest(typed: str, meant: str) -> None:
    done = dev(typed)
    assert (2, "") == (done.returncode, done.stdout)
    assert f"'{meant}'" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("lab", "nowhere"),
        ("fuzz", "--seconds", "soon"),
        ("fuzz", "--minutes"),
        ("clean", "everything"),
        ("plugin", "--rpm"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_done(arguments: tuple[str, ...]) -> None:
    assert 2 == dev(*arguments).returncode


def test_the_lab_lists_its_topologies_with_a_line_each() -> None:
    listed = dict(line.split(maxsplit=1) for line in dev("lab").stdout.splitlines())
    assert {path.stem.removeprefix("test_") for path in (ROOT / "tests/topologies").glob("test_*.py")} == set(listed)


def test_the_lock_pins_every_package_by_hash_and_names_no_place_to_get_it() -> None:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    requirements = [number for number, line in enumerate(lines) if line and not line.startswith(" ")]
    assert [] == [lines[number] for number in requirements if "==" not in lines[number]]
    assert [] == [lines[number] for number in requirements if "--hash=sha256:" not in lines[number + 1]]
    assert [] == [line for line in lines if "://" in line or line.startswith("-")]


SKIPPING = """
import pytest

@pytest.mark.parametrize("number", range(3))
def test_vpp(number):
    pytest.skip("vpp is not installed")

@pytest.mark.skip(reason="on Sundays")
def test_rest(): ...

@pytest.mark.xfail(strict=False, reason="known")
def test_known():
    assert False

def test_fine(): ...
"""

SKIPPED_WHOLE = """
import pytest

pytest.importorskip("no_such_module", reason="no_such_module is not installed")
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_last_word_of_a_run_is_what_was_skipped(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "test_whole.py").write_text(SKIPPED_WHOLE)
    command = [sys.executable, "-m", "pytest", "-p", "tests.skipped", "-n", workers, "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    *_, closing, first, second, third = done.stdout.splitlines()
    assert "1 passed" in closing
    assert "SKIPPED 3: vpp is not installed" == first
    assert {"SKIPPED 1: on Sundays", "SKIPPED 1: no_such_module is not installed"} == {second, third}


def test_a_run_that_skipped_nothing_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_fine.py").write_text("def test_fine(): ...\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.skipped", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert "nothing was skipped" == done.stdout.splitlines()[-1]


DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_of_a_document_leads_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text())
    assert [] == [link for link in links if not (document.parent / link).exists()]


@pytest.mark.parametrize("document", ["README.md", "docs/configure.md"])
def test_every_example_of_a_configuration_is_valid(document: str) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)
    assert examples
    for example in examples:
        parse(example)


@pytest.mark.parametrize("document", ["docs/reference.md", "docs/man/rtagent.1"])
def test_the_reference_and_the_manual_name_every_command(document: str) -> None:
    text = (ROOT / document).read_text()
    commands = re.findall(r"^    ([a-z]+)\s", parser().format_help(), re.MULTILINE)
    assert len(commands) >= 9
    assert [] == [command for command in commands if f"rtagent {command}" not in text]
