"""What is recorded: scenario → configuration. Run as a module it writes the files anew."""

from __future__ import annotations

from pathlib import Path

from rtagent.core.mesh.options import Options, Version
from rtagent.core.mesh.sessions import Topology
from rtagent.core.mesh.text import Configuration
from rtagent.vector.members import Role
from tests.meshes import NEW, OLD, configured, member, members_of, mesh

HERE = Path(__file__).parent

DIALECTS: dict[str, Version] = {"2.0": OLD, "2.17": NEW}
"""A BIRD takes the newest dialect that is not newer than itself."""


def scenarios() -> dict[str, Configuration]:
    """Return every recorded scenario by the name of its folder."""
    found: dict[str, Configuration] = {}
    for dialect, version in DIALECTS.items():
        found[f"node-{dialect}"] = configured(mesh(2), "node-2", Options(authentication="md5"), version=version)
        found[f"balancer-behind-reflectors-{dialect}"] = configured(
            mesh(2, reflectors=2),
            "lb-1",
            Options(bfd=False, graceful_restart=False, add_path=True, multihop=True, merge_paths=1),
            version=version,
            topology=Topology.REFLECTORS,
        )
        found[f"reflector-{dialect}"] = configured(mesh(2, reflectors=2), "reflector-2", version=version)
        # IPv4 routes with IPv6 next hops (RFC 8950): one of these has no IPv4 address.
        members = members_of([member(1, Role.LB)._replace(address4=None), member(2), member(3)])
        options = Options(transport="ipv6", pods_from="kernel", bfd=False)
        found[f"over-ipv6-{dialect}"] = configured(members, "node-2", options, version=version)
    found["ao-2.17"] = configured(mesh(2), "node-2", Options(authentication="ao"), version=NEW)
    return found


def dialect_of(version: Version) -> str:
    """Return the dialect that a BIRD speaks."""
    return max(
        (dialect for dialect, first in DIALECTS.items() if first[:2] <= version), key=lambda name: DIALECTS[name]
    )


def record() -> None:
    """Write all of them."""
    for name, configured_ in scenarios().items():
        folder = HERE / name
        folder.mkdir(exist_ok=True)
        for file, text in configured_.files.items():
            (folder / file).write_text(text)


if __name__ == "__main__":
    record()
