import numpy as np
import pytest

from rtagent.core.ledger import Ledger
from rtagent.core.rows import Rows
from rtagent.core.store import Store
from rtagent.vector.batch import Change, KernelBatch
from rtagent.vector.fib import NO_ENTRY, FibEntries
from rtagent.vector.links import IFF_LOWER_UP, IFF_UP, Link
from rtagent.vector.nexthops import NexthopGroups
from tests.rows import Route, delta, group

P, Q = "198.51.100.0/24", "203.0.113.0/24"
A, B = group("10.0.0.2@1"), group("10.0.0.3@2")
OWN, INTERFACE = 24, 3


class World:
    """A store with the links e1 and e2, paired with the ports 101 and 102, its ledger, and a data plane to play."""

    def __init__(self):
        self.groups, self.entries = NexthopGroups(), FibEntries()
        self.store = Store(self.groups, self.entries)
        self.ledger = Ledger(self.store.rib, self.store.resolver)
        up = IFF_UP | IFF_LOWER_UP
        self.store.apply(KernelBatch(changes=tuple(Change(Link(n, f"e{n}", up)) for n in (1, 2))))
        self.store.topology.pairs = {1: 101, 2: 102}
        self.store.topology_changed()
        self.decide()

    def kernel(self, *routes):
        self.store.apply(KernelBatch(delta(self.groups, *routes)))

    def decide(self, *, may_remove=True):
        return self.ledger.decide(self.store.rib.take_touched(), may_remove=may_remove)

    def answer(self, decision, **refused):
        """Answer a plan: 0, or the negative number given for a prefix (``**{P: -2}``)."""
        retval = np.array([refused.get(key.text, 0) for key in decision.plan.keys], np.int32)
        return self.ledger.record(decision, retval, lambda number: f"error {number}")

    def plan(self, decision):
        """Return (prefix, gateways or type, None for a removal) of each row of a plan."""
        return [
            (key.text, None if entry == NO_ENTRY else self.words(entry))
            for key, entry in zip(decision.plan.keys, decision.plan.entry.tolist(), strict=True)
        ]

    def words(self, number):
        entry = self.entries[number]
        return entry.kind.name if not entry.paths else [path.via.hex() for path in entry.paths]

    def settle(self):
        """Decide and answer well until nothing is left to write; return all rows that were written."""
        written = []
        while self.store.rib.has_touched:
            decision = self.decide()
            written += self.plan(decision)
            self.answer(decision)
        return written

    def states(self):
        rows = Rows(self.store, self.ledger, self.entries, {101: "port1", 102: "port2"})()
        return {row["prefix"]: (row["state"], row["reason"]) for row in rows}


@pytest.fixture
def world():
    return World()


VIA_A, VIA_B = ["0a000002"], ["0a000003"]


def test_a_change_back_while_a_write_is_under_way_is_written_after_it(world):
    world.kernel(Route(P, A))
    world.settle()
    world.kernel(Route(P, B))
    under_way = world.decide()
    world.kernel(Route(P, A))
    assert world.plan(world.decide()) == []
    world.answer(under_way)
    assert world.settle() == [(P, VIA_A)]
