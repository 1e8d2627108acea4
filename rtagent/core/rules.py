"""Policy rules: which of them bear on what a data plane forwards, and why those are not mirrored.

A data plane looks a packet up in one table, that of its interface. The kernel goes from rule to rule until a table
has a route. The rules that every kernel has come to the same: the local table first, then main; and with VRFs the
table of the interface. So do rules about what the router itself sends, which no data plane sees before it is routed.
Of any other rule the operator must know that it holds in the kernel only (docs/decisions/0008).
"""

from __future__ import annotations

from collections.abc import Iterable

from rtagent.vector.keys import FAMILY_NAMES, TABLE_MAIN
from rtagent.vector.links import Rule

_TABLE_DEFAULT, _TABLE_LOCAL = 253, 255
_USUAL_TABLES = (TABLE_MAIN, _TABLE_DEFAULT, _TABLE_LOCAL)
_TO_TABLE = 1
_ACTIONS = {2: "goto", 3: "nop", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
"""FR_ACT_*, linux/fib_rules.h."""
_OF_OUR_OWN_PACKETS = ("iif lo", "oif ", "uidrange ")
"""Such a rule matches only what a socket of this host sends."""

REASON = "policy rules hold in the kernel only: VPP forwards what matches by the table of its interface"


def is_mirrored(rule: Rule) -> bool:
    """Whether the data plane forwards as this rule says, or it says nothing about forwarding."""
    if rule.action == _TO_TABLE and (rule.selectors == "l3mdev" or not rule.selectors):
        return rule.selectors == "l3mdev" or rule.table in _USUAL_TABLES
    inverted = rule.selectors.startswith("not ")
    padded = f" {rule.selectors} "
    return not inverted and any(f" {words}" in padded for words in _OF_OUR_OWN_PACKETS)


def unsupported_rules(rules: Iterable[Rule]) -> list[Rule]:
    """Return the rules that the data plane does not follow, in the kernel's order."""
    return sorted(rule for rule in rules if not is_mirrored(rule))


def rule_text(rule: Rule) -> str:
    """Return a rule as ``ip rule`` shows it."""
    if rule.action == _TO_TABLE:
        action = f"lookup {rule.table}"
    else:
        action = _ACTIONS.get(rule.action, f"action {rule.action}") + (f" {rule.goto}" if rule.goto else "")
    selectors = rule.selectors.removeprefix("not ")
    words = ["not"] if rule.selectors.startswith("not") else []
    words += [] if "from " in f" {selectors}" else ["from all"]
    return f"{rule.priority}: " + " ".join([*words, *([selectors] if selectors else []), action])


def rule_row(rule: Rule) -> dict[str, object]:
    """Return the row of a rule that is not followed, in the words of the contract (docs/reference.md)."""
    return {
        "family": FAMILY_NAMES[rule.family],
        "table": rule.table,
        "rule": rule_text(rule),
        "reason": REASON,
    }
