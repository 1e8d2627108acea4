"""QEMU with Debian's own kernel (``linux-image-amd64``): what user-mode Linux lacks, vhost-net above all, hence taps of
VPP's; two processors, and the machine's files as its root by virtiofs.

All of it is emulated. Hardware virtualisation is not asked for: /dev/kvm may be there and take a guest no further than
its BIOS, as on the machines where this was made, and nobody could tell that from a slow boot.

Nothing is built for it but a few files to boot from, made anew each time: BusyBox, the modules without which there is
no root, and a script that hands over to vm_init.sh. Reading a file costs a turn through virtiofsd once, then it is in
the guest's page cache: what this machine changes below a guest that runs, that guest may not see.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

from tests.lab.machine import Machine

_BOOT = Path("/boot")
_MODULES = Path("/usr/lib")
_VIRTIOFSD = next(filter(Path.exists, map(Path, ("/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd"))), None)
_EARLY = ("virtio_pci", "virtiofs", "virtio_console", "overlay")
"""Modules that must be there before there is a root; others come from it."""

_INIT = """#!/bin/busybox sh
busybox mkdir -p /dev /machine
busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
while read -r module; do busybox insmod "/modules/$module"; done </modules/order
busybox mount -t virtiofs machine /machine
exec busybox chroot /machine "$VM_SCRATCH/init"
"""

_RUN = """
{virtiofsd} --socket-path={folder}/virtiofsd.sock -o source=/ -o cache=always -o sandbox=chroot -o log_level=err &
while ! test -S {folder}/virtiofsd.sock; do sleep 0.01; done
{qemu}
"""


def _release() -> str:
    """Return the release of the newest kernel of Debian's that is installed with its modules; empty without one."""
    found = [path.name.removeprefix("vmlinuz-") for path in _BOOT.glob("vmlinuz-*-amd64")]
    found = [release for release in found if (_MODULES / "modules" / release).is_dir()]
    return max(found, key=lambda release: [int(number) for number in re.findall(r"\d+", release)], default="")


def _missing() -> str:
    wanted = {
        "qemu-system-x86": shutil.which("qemu-system-x86_64"),
        "virtiofsd": _VIRTIOFSD,
        "linux-image-amd64": _release(),
        "busybox": shutil.which("busybox"),
        "cpio": shutil.which("cpio"),
    }
    missing = [package for package, found in wanted.items() if not found]
    return f"{', '.join(missing)} not installed" if missing else ""


def _start(folder: Path, memory: str) -> list[str]:
    _make_initramfs(folder)
    parameters = f"console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable VM_SCRATCH={folder} VM_LINE=/dev/vport0p1"
    qemu = [
        "qemu-system-x86_64", "-M", "q35,memory-backend=memory", "-accel", "tcg,thread=multi", "-cpu", "max",
        "-smp", "2", "-m", memory, "-object", f"memory-backend-memfd,id=memory,size={memory},share=on",
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-kernel", str(_BOOT / f"vmlinuz-{_release()}"), "-initrd", str(folder / "initramfs"), "-append", parameters,
        "-chardev", "stdio,id=line,signal=off",
        "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=line",
        "-chardev", f"socket,id=files,path={folder}/virtiofsd.sock",
        "-device", "vhost-user-fs-pci,chardev=files,tag=machine,queue-size=1024",
        "-chardev", f"file,id=console,path={folder}/console,append=on", "-serial", "chardev:console",
    ]  # fmt: skip
    return ["sh", "-c", _RUN.format(virtiofsd=_VIRTIOFSD, folder=folder, qemu=shlex.join(qemu))]


def _make_initramfs(folder: Path) -> None:
    tree = folder / "boot"
    (tree / "bin").mkdir(parents=True)
    (tree / "modules").mkdir()
    busybox = shutil.which("busybox")
    assert busybox is not None
    shutil.copy(busybox, tree / "bin" / "busybox")
    for library in re.findall(r"(/\S+) \(0x", _said("ldd", busybox)):
        (tree / library[1:]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(library, tree / library[1:])
    order: dict[str, None] = {}
    for module in _EARLY:
        needed = _said("modprobe", "--set-version", _release(), "--show-depends", "--ignore-install", module)
        for path in re.findall(r"^insmod (\S+)", needed, re.MULTILINE):
            shutil.copy(path, tree / "modules")
            order[Path(path).name] = None
    (tree / "modules" / "order").write_text("".join(f"{name}\n" for name in order))
    (tree / "init").write_text(_INIT)
    (tree / "init").chmod(0o755)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    cpio = ["cpio", "--quiet", "--create", "--format=newc", "--file", str(folder / "initramfs")]
    subprocess.run(cpio, cwd=tree, input=names, text=True, check=True)
    shutil.rmtree(tree)


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


QEMU = Machine(
    name="QEMU",
    missing=_missing(),
    lacks=frozenset(),
    modules=_MODULES,
    start=_start,
    memory="4G",
    boot_s=120,
    item_s=600,
)
