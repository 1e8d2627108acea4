"""Several entries per prefix, replaced, appended, of all types and tables: the exact one at each step."""

import pytest

from rtagent.vector.encaps import STEERING_TABLE
from tests.kernel.mirror import IN_MEMORY, Path
from tests.kernel.oracle import disagreements

P, P6 = "198.51.100.0/24", "2001:db8:f::/48"
VIA = [Path(f"10.0.{port}.2", f"e{port}") for port in range(3)]
VIA6 = [Path(f"2001:db8:{port}::2" if port else "2001:db8::2", f"e{port}") for port in range(3)]


def steps(router, mirror, prefix, *expected):
    """Run the commands one by one and compare with the kernel and with what is expected after each."""
    for command, paths in expected:
        router.ip(command)
        assert disagreements(mirror, router) == [], command
        assert mirror.paths(prefix) == paths, command


def test_the_lower_metric_forwards_and_the_next_one_takes_over_without_a_message(router, mirror):
    steps(
        router, mirror, P,
        (f"route add {P} via 10.0.1.2 metric 20", {VIA[1]}),
        (f"route add {P} via 10.0.0.2 metric 10", {VIA[0]}),
        (f"route add {P} via 10.0.2.2 metric 30", {VIA[0]}),
        (f"route del {P} metric 10", {VIA[1]}),
        (f"route replace {P} via 10.0.0.2 metric 20", {VIA[0]}),
        (f"route del {P} metric 20", {VIA[2]}),
        (f"route del {P} metric 30", None),
    )  # fmt: skip


def test_the_lower_ipv6_metric_forwards(router, mirror):
    steps(
        router, mirror, P6,
        (f"-6 route add {P6} via 2001:db8:1::2", {VIA6[1]}),
        (f"-6 route add {P6} via 2001:db8::2 metric 20", {VIA6[0]}),
        (f"-6 route del {P6} metric 20", {VIA6[1]}),
        (f"-6 route del {P6}", None),
    )  # fmt: skip


def test_a_dynamic_route_comes_before_a_static_one_of_a_higher_metric(router, mirror):
    router.ip(f"route add {P} via 10.0.0.2 metric 200 proto static")
    router.ip(f"route add {P} via 10.0.1.2 metric 32 proto bird")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA[1]}


@pytest.mark.parametrize(("option", "prefix", "via"), [("-4", P, "10.0.0.2"), ("-6", P6, "2001:db8::2")])
def test_each_type_is_followed_and_throw_removes(router, mirror, option, prefix, via):
    router.ip(f"{option} route add {prefix} via {via}")
    mirror.settle()
    for kind in ("blackhole", "unreachable", "prohibit", "throw", "blackhole"):
        router.ip(f"{option} route replace {kind} {prefix}")
        assert disagreements(mirror, router) == []
        assert mirror.type(prefix) == (None if kind == "throw" else kind)
        if kind == "throw":
            assert mirror.state(prefix) == ("unsupported", "throw routes have no counterpart")
    router.ip(f"{option} route replace {prefix} via {via}")
    assert disagreements(mirror, router) == []
    assert mirror.type(prefix) == "unicast"


def test_ipv4_append_prepend_change_and_replace_of_one_metric(router, mirror):
    steps(
        router, mirror, P,
        (f"route add {P} via 10.0.0.2", {VIA[0]}),
        (f"route append {P} via 10.0.1.2", {VIA[0]}),
        (f"route prepend {P} via 10.0.2.2", {VIA[2]}),
        (f"route change {P} dev e2 scope link", {Path("", "e2")}),
        (f"route del {P} dev e2", {VIA[0]}),
        (f"route del {P} via 10.0.0.2", {VIA[1]}),
        (f"route replace {P} nexthop via 10.0.0.2 nexthop via 10.0.2.2", {VIA[0], VIA[2]}),
        (f"route del {P}", None),
    )  # fmt: skip


def test_an_appended_ipv4_entry_takes_over_when_the_first_is_dead(router, mirror):
    steps(
        router, mirror, P,
        (f"route add {P} nexthop via 10.0.0.2 nexthop via 10.0.1.2", {VIA[0], VIA[1]}),
        (f"route append {P} via 10.0.2.2", {VIA[0], VIA[1]}),
        ("link set e0 down", {VIA[1]}),
        ("link set e1 down", {VIA[2]}),
    )  # fmt: skip


def test_an_ipv6_route_grows_and_shrinks_nexthop_by_nexthop(router, mirror):
    steps(
        router, mirror, P6,
        (f"-6 route add {P6} via 2001:db8::2", {VIA6[0]}),
        (f"-6 route append {P6} via 2001:db8:1::2", {VIA6[0], VIA6[1]}),
        (f"-6 route append {P6} nexthop via 2001:db8:2::2 nexthop via 2001:db8:2::3",
         {*VIA6, Path("2001:db8:2::3", "e2")}),
        (f"-6 route del {P6} via 2001:db8:1::2", {VIA6[0], VIA6[2], Path("2001:db8:2::3", "e2")}),
        (f"-6 route replace {P6} nexthop via 2001:db8:1::2 nexthop via 2001:db8:2::2", {VIA6[1], VIA6[2]}),
        (f"-6 route replace {P6} via 2001:db8::2", {VIA6[0]}),
        (f"-6 route append {P6} via 2001:db8:2::2", {VIA6[0], VIA6[2]}),
        (f"-6 route del {P6} nexthop via 2001:db8::2 nexthop via 2001:db8:2::2", None),
    )  # fmt: skip


def test_ipv6_routes_over_devices_stand_side_by_side(router, mirror):
    for command in (
        f"-6 route add {P6} dev e0",
        f"-6 route append {P6} dev e1",
        f"-6 route append {P6} via 2001:db8:2::2",
        f"-6 route del {P6} dev e0",
        f"-6 route replace {P6} via 2001:db8::2",
        f"-6 route del {P6} dev e1",
        f"-6 route del {P6}",
    ):
        router.ip(command)
        assert disagreements(mirror, router) == [], command


@pytest.mark.parametrize(("option", "prefix", "gateways"), [
    ("-4", P, ("10.0.0.2", "10.0.1.2")), ("-6", P6, ("2001:db8::2", "2001:db8:1::2")),
])  # fmt: skip
def test_weights_keep_their_proportion(router, mirror, option, prefix, gateways):
    def weights(left, right):
        router.ip(f"{option} route replace {prefix} nexthop via {gateways[0]} weight {left} "
                  f"nexthop via {gateways[1]} weight {right}")  # fmt: skip
        return sorted(path.weight for path in mirror.paths(prefix))

    assert weights(3, 5) == [3, 5]
    assert weights(4, 8) == [1, 2]
    assert weights(256, 128) == [1, 2]
    assert weights(1, 256) == [1, 255]
    assert weights(256, 255) == [254, 255]


def test_equal_nexthops_share_one_path_of_their_weights(router, mirror):
    router.ip(f"route add {P} nexthop via 10.0.0.2 weight 2 nexthop via 10.0.0.2 weight 1 nexthop via 10.0.1.2")
    assert mirror.paths(P) == {VIA[0]._replace(weight=3), VIA[1]}
    assert disagreements(mirror, router) == []


def test_only_tos_0_is_installed_and_the_other_is_shown(router, mirror):
    router.ip(f"route add {P} via 10.0.0.2 tos 0x10")
    assert mirror.state(P) == ("unsupported", "only for tos 0x10")
    steps(
        router, mirror, P,
        (f"route add {P} via 10.0.1.2", {VIA[1]}),
        (f"route del {P} tos 0x10", {VIA[1]}),
        (f"route del {P}", None),
    )  # fmt: skip


def test_a_source_specific_route_is_shown_and_not_installed(router, mirror):
    router.ip(f"-6 route add {P6} from 2001:db8:a::/64 via 2001:db8::2")
    assert disagreements(mirror, router) == []
    assert mirror.state(P6) == (
        "unsupported", "from 2001:db8:a::/64 metric 1024: source-specific routes have no counterpart",
    )  # fmt: skip
    router.ip(f"-6 route del {P6} from 2001:db8:a::/64")
    assert disagreements(mirror, router) == []
    assert list(mirror.store.unsupported) == []


@IN_MEMORY
def test_an_encapsulated_route_is_never_installed_as_a_plain_one(router, mirror):
    router.ip(f"route add {P} via 10.0.0.2")
    mirror.settle()
    router.ip(f"route replace {P} encap ip id 1 dst 192.0.2.1 via 10.0.0.2")
    assert mirror.paths(P) is None
    assert mirror.state(P) == (
        "unsupported", "encap ip: e0 is no tunnel in external mode, the kernel would not tunnel",
    )  # fmt: skip
    router.ip(f"route replace {P} nexthop via 10.0.1.2 nexthop encap ip id 1 dst 192.0.2.1 via 10.0.0.2")
    assert mirror.paths(P) is None
    router.ip(f"-6 route add {P6} encap seg6 mode l2encap segs 2001:db8::2 dev e0")
    assert mirror.state(P6)[0] == "unsupported"
    router.ip(f"route replace {P} via 10.0.0.2")
    assert mirror.paths(P) == {VIA[0]}


def test_a_route_over_another_familys_gateway_is_mirrored(router, mirror):
    router.ip(f"route add {P} via inet6 2001:db8::2 dev e0")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA6[0]}
    router.ip(f"route replace {P} nexthop via inet6 2001:db8::2 dev e0 nexthop via 10.0.1.2")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {VIA6[0], VIA[1]}


def test_an_onlink_gateway_is_mirrored(router, mirror):
    router.ip(f"route add {P} via 192.0.2.2 dev e0 onlink")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P) == {Path("192.0.2.2", "e0")}


@pytest.mark.parametrize("table", [100, 252, 256, 100000, 4294967294])
def test_a_table_of_any_number_is_mirrored(router, mirror, table):
    router.ip(f"route add {P} via 10.0.0.2 table {table}")
    router.ip(f"-6 route add {P6} via 2001:db8::2 table {table}")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P, table) == {VIA[0]}
    assert mirror.paths(P) is None
    router.ip(f"route flush table {table}")
    router.ip(f"-6 route flush table {table}")
    assert disagreements(mirror, router) == []
    assert mirror.paths(P, table) is None


@pytest.mark.parametrize("table", [STEERING_TABLE, 4294967295])
def test_a_table_whose_number_means_another_one_to_vpp_is_unsupported(router, mirror, table):
    for prefix, via in ((P, "10.0.0.2"), (P6, "2001:db8::2")):
        router.ip(f"route add {prefix} via {via} table {table}")
        assert mirror.paths(prefix, table) is None
        state, reason = mirror.state(prefix, table)
        assert (state, reason.partition(" is ")[0]) == ("unsupported", f"table {table}")
    router.ip(f"route add {P} via 10.0.0.2 table {table - 1}")
    assert mirror.paths(P, table - 1) == {VIA[0]}


def test_an_unreachable_default_of_the_highest_metric_yields_to_a_real_one(router, mirror):
    router.ip("-6 route add unreachable default metric 4278198272")
    assert mirror.type("::/0") == "unreachable"
    router.ip("-6 route add default via 2001:db8::2 metric 1024")
    assert disagreements(mirror, router) == []
    assert mirror.paths("::/0") == {VIA6[0]}


def test_default_routes_of_both_families_are_mirrored(router, mirror):
    router.ip("route add default via 10.0.0.2")
    router.ip("-6 route add default via 2001:db8::2")
    assert disagreements(mirror, router) == []
    assert mirror.paths("0.0.0.0/0") == {VIA[0]}
    assert mirror.paths("::/0") == {VIA6[0]}


def test_a_route_over_an_unpaired_link_is_removed_not_left_stale(router, mirror):
    router.ip(f"route add {P} via 10.0.0.2")
    mirror.settle()
    router.ip(f"route replace unicast {P} dev lo")
    assert mirror.paths(P) is None
    assert mirror.state(P) == ("parked", "no pair for lo")


def test_link_local_and_multicast_prefixes_are_not_mirrored(router, mirror):
    router.ip("route add multicast 239.0.0.0/8 dev e0")
    assert disagreements(mirror, router) == []
    assert [prefix for _, prefix in mirror.fib() if prefix.startswith(("fe80", "ff", "239"))] == []


def test_an_mtu_or_another_metric_of_a_route_changes_nothing(router, mirror):
    router.ip(f"route add {P} via 10.0.0.2 mtu 1400 advmss 1300")
    mirror.settle()
    mirror.take_writes()
    router.ip(f"route replace {P} via 10.0.0.2 mtu 1200")
    assert disagreements(mirror, router) == []
    assert mirror.take_writes() == []


def test_a_prefix_changed_a_hundred_times_in_one_batch_is_written_once(router, mirror):
    mirror.settle()
    mirror.take_writes()
    router.ip_batch([f"route replace {P} via 10.0.{n % 3}.{n + 2}" for n in range(100)])
    assert mirror.take_writes() == [("set", P)]
    assert disagreements(mirror, router) == []


def test_an_ipv6_prefix_with_a_source_specific_route_is_used_for_no_other_source(router, mirror):
    plain, reason = "2001:db8:f1::/48", "shadowed by a source-specific route of the same prefix"
    router.ip(f"route add {plain} via 2001:db8:1::2")
    router.ip(f"route add {plain} from 2001:db8:99::/64 via 2001:db8:2::4")
    assert mirror.state(plain) == ("shadowed", reason)
    assert disagreements(mirror, router, ["2001:db8:f1::7"]) == []
    router.ip(f"route del {plain} from 2001:db8:99::/64")
    assert mirror.paths(plain) == {Path("2001:db8:1::2", "e1")}
    router.ip("route add ::/0 via 2001:db8:1::2")
    router.ip("route add ::/0 from 2001:db8:99::/64 via 2001:db8:2::4")
    assert mirror.paths("::/0") == {Path("2001:db8:1::2", "e1")}
    assert disagreements(mirror, router, ["3fff::1"]) == []
