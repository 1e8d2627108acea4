"""What the plan says that a change costs is what each BIRD makes of it: one session for each change, all at once."""

from __future__ import annotations

import re
from contextlib import suppress

from rtagent.core.mesh.options import MODERN
from rtagent.core.mesh.plan import Effect, plan
from tests.lab.birds import BirdRelease
from tests.lab.lab import Lab, wait_for
from tests.lab.mesh import Mesh
from tests.meshes import mesh

CHANGES: dict[str, tuple[str, str, Effect]] = {
    "nothing": ("", "", Effect.NONE),
    "description": ("description .*;", 'description "another";', Effect.NONE),
    "bfd": ("passive;|description", r"bfd off;\n\g<0>", Effect.NONE),
    "limit": ("ipv4 {", r"\g<0> receive limit 77 action block;", Effect.NONE),
    "limit action": ("ipv4 {", r"\g<0> receive limit 64 action restart;", Effect.NONE),
    "prefixes of the peer": (r"mesh_accepts\(\[ (10\S+)", r"mesh_accepts([ \1, 10.200.0.0/16", Effect.REFRESH),
    "import nothing": (r"import where[^;]*10\.128[^;]*;", "import none;", Effect.REFRESH),
    "prefixes of its own": (
        "ipv4 {",
        r"\g<0> export where mesh_announces([ 10.128.1.0/24, 10.200.0.0/16 ]);",
        Effect.REFRESH,
    ),
    "hold time": ("ipv4 {", r"hold time 91;\n    \g<0>", Effect.RESTART),
    "graceful restart time": ("ipv4 {", r"graceful restart time 121;\n    \g<0>", Effect.RESTART),
    "add-path": ("ipv4 {", r"\g<0> add paths on;", Effect.RESTART),
    "router id": ("ipv4 {", r"router id 10.99.99.99;\n    \g<0>", Effect.RESTART),
    "next hop": ("ipv4 {", r"\g<0> next hop address 10.99.99.99;", Effect.RESTART),
    "connect delay": ("ipv4 {", r"connect delay time 2;\n    \g<0>", Effect.RESTART),
    "rr client": ("ipv4 {", r"rr client;\n    \g<0>", Effect.RESTART),
    "a family less": (r"mesh_session46((?s:.*?))    ipv6 .*\n", r"mesh_session4\1", Effect.RESTART),
}
"""What is changed → (what is replaced in the text of the session, by what, what that costs)."""


def test_each_change_costs_what_the_plan_says(bird_release: BirdRelease) -> None:
    with Lab() as lab:
        site = Mesh(lab, mesh(len(CHANGES) + 1, balancers=0), bird_release)
        site.start()
        site.wait()
        one = site["node-1"]
        peers = {f"mesh.node-{number}": change for number, change in enumerate(CHANGES, 2)}
        before = after = _with_a_kind_for_one_family((one.folder / "mesh.conf").read_text())
        for name, change in peers.items():
            pattern, replacement, _ = CHANGES[change]
            session = re.search(rf"^protocol bgp '{name}' .*?^}}", after, re.MULTILINE | re.DOTALL)
            assert session is not None
            edited = re.sub(pattern, replacement, session[0], count=1) if pattern else session[0]
            after = after.replace(session[0], edited)
        predicted = dict.fromkeys(peers, Effect.NONE) | {
            change.session: change.effect for change in plan({"mesh.conf": before}, {"mesh.conf": after}).changes
        }
        assert {change: effect for change, (_, _, effect) in CHANGES.items()} == {
            change: predicted[name] for name, change in peers.items()
        }

        stood = one.sessions()
        counted = _updates(site, peers)
        (one.folder / "mesh.conf").write_text(after)
        one.bird.configure()

        def observed() -> dict[str, Effect]:
            restarted, updates = one.restarted(stood), _updates(site, peers)
            return {
                name: Effect.RESTART if name in restarted
                else Effect.REFRESH if updates[name] != counted[name] else Effect.NONE
                for name in peers
            }  # fmt: skip

        def seen() -> bool:
            return all(effect <= observed()[name] for name, effect in predicted.items())

        if bird_release.version < MODERN:
            predicted[next(name for name, change in peers.items() if change == "next hop")] = Effect.REFRESH  # better
        with suppress(TimeoutError):  # what was not seen is shown below
            wait_for(seen, "the effects that were predicted", 10)
        assert {change: predicted[name] for name, change in peers.items()} == {
            change: observed()[name] for name, change in peers.items()
        }


def _updates(site: Mesh, peers: dict[str, str]) -> dict[str, list[int]]:
    """Return for each session how many updates came, at this end and at the other."""
    here = site["node-1"].updates()
    return {
        name: [*here.get(name, []), *site[name.removeprefix("mesh.")].updates().get("mesh.node-1", [])]
        for name in peers
    }


def _with_a_kind_for_one_family(text: str) -> str:
    """Return the text with a second template, which has no IPv6."""
    (template,) = re.findall(r"^template bgp mesh_session46 {.*?^}\n", text, re.MULTILINE | re.DOTALL)
    second = re.sub(r"^    ipv6 {.*?^    };\n", "", template, flags=re.MULTILINE | re.DOTALL)
    return text.replace(template, template + second.replace("mesh_session46", "mesh_session4"))
