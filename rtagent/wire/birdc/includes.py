"""BIRD's ``include`` lines: so that texts can be checked together before any of them is in its place.

An ``include`` stands on a line of its own; a relative path is looked for beside the file that includes it, and the path
may be a glob (conf/cf-lex.l of BIRD).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

_INCLUDE = re.compile(r'(include[ \t]*")([^"\n]+)("[ \t]*;)')
"""What begins with a letter is found much sooner than the beginning of a line: that is looked at afterwards."""


def copies(main: Path, main_text: str, files: Mapping[Path, str], copy: Mapping[Path, Path]) -> dict[Path, str] | None:
    """Return texts for the copies of the main file and of ``files`` that include each other instead of the originals.

    ``copy`` says where each copy will be; lines keep their numbers. None if not every file is included by its name, by
    the main file or by another of them: through a glob or a file of somebody else's they cannot be checked together.
    """
    found: set[Path] = set()
    texts = {main: main_text, **files}

    def replaced(file: Path) -> str:
        def include(match: re.Match[str]) -> str:
            if match.string[match.string.rfind("\n", 0, match.start()) + 1 : match.start()].strip(" \t"):
                return match[0]
            path = Path(_joined(file.parent, match[2]))
            if path in files:
                found.add(path)
            return f"{match[1]}{copy.get(path, path)}{match[3]}"

        return _INCLUDE.sub(include, texts[file])

    written = {copy[file]: replaced(file) for file in texts}
    return written if found == set(files) else None


def _joined(folder: Path, name: str) -> str:
    """Return a path, or a glob, as BIRD looks for it, without ``..`` and ``.`` where that is safe to say."""
    parts: list[str] = []
    for part in (folder / name).parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    return str(Path(*parts))
