"""What a mirror wants of VPP's interfaces as links and interfaces become known."""

import pytest

from rtagent.agent.mirror import Mirror
from rtagent.agent.replay import ReplayedPorts
from rtagent.agent.settings import Settings
from rtagent.core.taps import TapRules
from rtagent.vector.batch import Change, Dump, KernelBatch
from rtagent.vector.interfaces import OURS, AdminState, Mac, PairKey
from rtagent.vector.links import IFF_UP, Link, Tun
from rtagent.vector.objects import Held, Stage
from rtagent.vector.ports import HostLink, Port
from rtagent.vector.routes import EMPTY_DELTA

OLD, NEW = bytes.fromhex("02feed000001"), bytes.fromhex("02feed000002")
E0 = Link(7, "e0", IFF_UP, mac=OLD, tun=Tun(True, True, True), altnames=("rtagent.port0",))


class World:
    """A mirror whose interfaces and links are told here."""

    def __init__(self):
        settings = Settings(pairs={"e0": "port0"}, taps=TapRules(("port0",)))
        self.mirror = Mirror(settings, lambda _, entries: ReplayedPorts(entries))
        self.mirror.store.on_links_changed = self.mirror.join_pairs

    def see(self, *ports):
        self.mirror.sink.told({port.name: port for port in ports})
        self.mirror.saw_ports()
        self.mirror.join_pairs()

    def links(self, *links):
        store = self.mirror.store
        store.begin(Dump.LINKS)
        store.apply(KernelBatch(EMPTY_DELTA, tuple(Change(link) for link in links)), Dump.LINKS)
        store.finish(Dump.LINKS)

    def wanted(self):
        self.mirror.want_objects()
        return self.mirror.objects.wanted


@pytest.fixture
def world():
    return World()


def test_an_interface_is_left_as_it_is_until_the_links_are_known():
    world = World()
    world.mirror.settings = Settings(pairs={"e0": "port0"})
    world.see(Port("port0", 1, mac=NEW))
    assert AdminState(1) not in world.wanted()
    world.links()
    assert world.wanted()[AdminState(1)] is False


def test_one_that_waits_for_its_tap_is_left_as_it_is(world):
    world.see(Port("port0", 1, mac=NEW))
    world.links()
    assert AdminState(1) not in world.wanted()


def test_after_a_crash_an_interface_is_made_as_its_tap_before_they_are_paired(world):
    world.links(E0)
    world.see(Port("port0", 3, up=False, mac=NEW))
    world.wanted()
    world.mirror.objects.load({AdminState(3): Held(False), Mac(3): Held(NEW)})
    stages = [
        {change.key: change.after for change in stage}
        for stage in world.mirror.objects.changes(may_remove=True).before_routes
    ]
    assert {AdminState(3): True, Mac(3): OLD}.items() <= stages[0].items()
    assert {PairKey(3): HostLink(7, "e0", "", False, OURS)} == stages[1]
    assert [Stage.SETTING, Stage.PAIR] == [Mac(3).stage, PairKey(3).stage]


def test_without_linux_cp_no_tap_is_made_and_the_pair_says_so(world):
    world.links()
    world.see(Port("port0", 1, mac=NEW))
    world.mirror.join_pairs()
    assert [] == world.mirror.missing_links()
    assert ["link e0 cannot be made: VPP has no linux_cp plugin, or one of another API"] == [
        pair.state for pair in world.mirror.pairs
    ]
