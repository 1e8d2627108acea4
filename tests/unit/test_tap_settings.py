"""The [taps] table of the configuration."""

from dataclasses import asdict

import pytest

from rtagent.agent.settings import parse
from rtagent.core.taps import NO_TAPS, TapRules
from rtagent.vector.ports import PortKind
from rtagent.wire.toml.schema import SettingsError


def test_without_it_no_tap_is_made():
    assert NO_TAPS == parse("").taps
    assert NO_TAPS == parse("[taps]\n").taps


def test_names_types_exceptions_and_a_template():
    text = '[taps]\ninterfaces = ["Ten*"]\ntypes = ["bond", "tunnel"]\nexcept = ["Ten9*"]\nname = "v-{name}"\n'
    assert TapRules(("Ten*",), (PortKind.BOND, PortKind.TUNNEL), ("Ten9*",), "v-{name}") == parse(text).taps


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('types = ["sub"]', "taps.types"),
        ('types = ["ethernet"]', "a list of any of physical, bond, loopback, bvi, tunnel"),
        ('name = "tap"', "a text with {name} in it"),
        ('name = "a/{name}"', "a text with {name} in it"),
        ("interfaces = true", "a list of names or globs of VPP's interfaces"),
        ('interface = ["Ten*"]', "did you mean interfaces?"),
    ],
)
def test_mistakes_are_named(line, said):
    with pytest.raises(SettingsError) as wrong:
        parse(f"[taps]\n{line}\n")
    (problem,) = wrong.value.problems
    assert 2 == problem.line
    assert said in str(problem)


def test_rules_are_told_and_read_again():
    rules = TapRules(("Ten*",), (PortKind.BOND,), ("Ten9*",), "v-{name}")
    assert rules == TapRules.of(asdict(rules))
