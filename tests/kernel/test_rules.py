"""Policy rules: those that every kernel has are silent, any other is shown as ``ip rule`` shows it."""

import pytest

from rtagent.core.rules import rule_text, unsupported_rules

SHOWN = [
    "100: from 192.0.2.0/24 lookup 100",
    "101: from all to 198.51.100.7 lookup 101",
    "102: not from 192.0.2.0/24 lookup 100000",
    "103: from all fwmark 0x1 lookup 103",
    "104: from all fwmark 0x10/0xff lookup 103",
    "105: from all iif e0 lookup 105",
    "106: from 192.0.2.0/24 goto 32766",
    "107: from 192.0.2.0/24 blackhole",
    "108: from 192.0.2.0/24 unreachable",
    "109: from 192.0.2.0/24 prohibit",
    "110: from all lookup 110",
    "111: not from all iif lo lookup 111",
]
SILENT = [
    "200: from all lookup main",
    "201: from all lookup local",
    "202: from all iif lo lookup 202",
    "203: from all oif e0 lookup 203",
    "204: from all uidrange 0-1000 lookup 204",
]


def as_command(line):
    priority, _, rule = line.partition(": ")
    return f"rule add pref {priority} {rule.replace(' blackhole', ' type blackhole').replace('from all iif', 'iif')}"


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_unusual_rules_are_shown_as_ip_rule_shows_them(router, mirror, family):
    lines = SHOWN if family == "-4" else [_in_inet6(line) for line in SHOWN]
    for line in [*lines, *SILENT]:
        router.ip(f"{family} {as_command(line)}")
    mirror.settle()
    shown = [rule_text(rule) for rule in unsupported_rules(mirror.store.rules.values())]
    told = [" ".join(line.split()) for line in router.ip(f"{family} rule show").splitlines()]
    assert [line for line in told if line in shown] == shown
    assert shown == lines
    for line in lines:
        router.ip(f"{family} rule del pref {line.partition(':')[0]}")
    mirror.settle()
    assert unsupported_rules(mirror.store.rules.values()) == []


def _in_inet6(line):
    return line.replace("192.0.2.0/24", "2001:db8::/32").replace("198.51.100.7", "2001:db8::7")
