"""What the kernel decides before the main table, and what of it VPP is told: vppctl is the witness."""

from __future__ import annotations

from tests.lab.lab import wait_for
from tests.vpp.site import VppSite

ANYCAST = {"ip": ("198.51.100.0/24", "198.51.100.77"), "ip6": ("2001:db8:f::/48", "2001:db8:f::77")}


def entry(site: VppSite, family: str, prefix: str) -> str:
    """Return what VPP shows of the entry that covers a prefix."""
    return site.vpp.ctl(f"show {family} fib {prefix}")


def test_an_anycast_service_is_punted(site: VppSite) -> None:
    site.start()
    site.wait()
    for family, (prefix, address) in ANYCAST.items():
        option = "-6" if family == "ip6" else "-4"
        site.router.ip(f"{option} route add local {prefix} dev lo")
        site.wait()
        for asked in (prefix, address):
            assert f"\n{prefix} fib:0" in entry(site, family, asked)
            assert "dpo-receive" in entry(site, family, asked)
        site.router.ip(f"{option} route del local {prefix} dev lo table local")
        site.wait()
        assert f"\n{prefix} fib:0" not in entry(site, family, prefix)


def test_of_the_local_table_nothing_else_is_mirrored(site: VppSite) -> None:
    site.router.ip("addr add 203.0.113.1/24 brd + dev e0")
    site.router.ip("addr add 2001:db8:77::1/64 dev e0 nodad")
    site.router.ip("route add broadcast 192.0.2.255 dev e0 table local")
    site.router.sysctl("net.ipv6.conf.all.forwarding", 1)  # gives the links anycast addresses
    assert "anycast" in site.router.ip("-6 route show table local")
    site.router.ip("route add 198.51.100.9/32 via 10.0.0.2")
    site.router.ip("-6 route add 2001:db8:f::9/128 via 2001:db8:0::2")
    site.start()
    site.wait()
    assert is_ours(site, "ip", "198.51.100.9/32")
    assert is_ours(site, "ip6", "2001:db8:f::9/128")
    for option, family in (("-4", "ip"), ("-6", "ip6")):
        rows = site.router.ip_json(f"{option} route show table local")
        assert len(rows) > 10
        assert [row["dst"] for row in rows if is_ours(site, family, row["dst"])] == []


def is_ours(site: VppSite, family: str, prefix: str) -> bool:
    """Whether VPP holds an entry of our source at this very prefix; an address is a prefix of its whole length."""
    whole = prefix if "/" in prefix else f"{prefix}/{128 if family == 'ip6' else 32}"
    shown = entry(site, family, whole)
    return f"\n{whole} fib:0" in shown and "\n  rtagent refs" in shown


def test_a_route_replaced_over_an_unpaired_link_is_removed(site: VppSite) -> None:
    site.lab.veth(site.router, "u0", site.peer, "u0")
    site.router.ip("addr add 10.99.0.1/24 dev u0")
    site.router.ip("addr add 2001:db8:99::1/64 dev u0 nodad")
    site.start()
    site.wait()
    for option, family, prefix, paired, unpaired in (
        ("-4", "ip", "198.51.100.0/24", "10.0.0.2", "10.99.0.2"),
        ("-6", "ip6", "2001:db8:f::/48", "2001:db8:0::2", "2001:db8:99::2"),
    ):
        site.router.ip(f"{option} route add {prefix} via {paired} dev e0")
        site.wait()
        assert "host-v0" in entry(site, family, prefix)
        site.router.ip(f"{option} route replace {prefix} via {unpaired} dev u0")
        site.wait()
        assert f"\n{prefix} fib:0" not in entry(site, family, prefix)
        (row,) = site.json("fib", prefix)
        assert (row["state"], row["reason"]) == ("parked", "no pair for u0")


def test_a_policy_rule_is_shown_with_its_reason(site: VppSite) -> None:
    site.router.ip("route add 198.51.100.0/24 via 10.1.0.2 table 100")
    site.start()
    site.wait()
    assert site.diff() == []
    assert site.json("status")["rules"] == []
    rule = "100: from 192.0.2.0/24 lookup 100"
    site.router.ip("rule add pref 100 from 192.0.2.0/24 lookup 100")
    wait_for(lambda: site.json("status")["rules"], "the rule")
    (row,) = site.diff()
    assert (row["why"], row["rule"], row["family"], row["table"]) == ("unsupported", rule, "inet", 100)
    assert row["reason"].startswith("policy rules hold in the kernel only")
    assert [each["rule"] for each in site.json("status")["rules"]] == [rule]
    for command in (["diff", "--config", str(site.config)], ["status", "--control", site.control]):
        assert rule in site.rtagent(*command).out
    assert "host-v1" in site.vpp.ctl("show ip fib table 100 198.51.100.0/24")
    site.router.ip("rule del pref 100")
    wait_for(lambda: not site.json("status")["rules"], "no rule")
    assert site.diff() == []
