"""The templates of the mesh's configuration as files: the ones that came with rtagent, and the operator's own."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from rtagent.core.mesh.template import NAMES, TemplateError, Templates


@functools.cache
def shipped() -> Mapping[str, str]:
    """Return name → text of the templates that came with rtagent (``bird/mesh`` of the source)."""
    folder = resources.files("rtagent.agent").joinpath("bird")
    return {name: folder.joinpath(f"{name}.conf").read_text(encoding="utf-8") for name in NAMES}


def load(own: Path) -> Templates:
    """Return the templates, those in the folder ``own`` in place of the shipped ones; it need not be there.

    Raises TemplateError for a file that is none, and OSError for one that cannot be read.
    """
    texts = {**shipped()}
    for file in sorted(own.glob("*.conf")):
        if file.stem not in NAMES:
            near = difflib.get_close_matches(file.stem, NAMES, 1, 0.5)
            meant = f"; did you mean {near[0]}.conf?" if near else ""
            raise TemplateError(f"{file} is no template{meant} There are {', '.join(f'{name}.conf' for name in NAMES)}")
        texts[file.stem] = file.read_text(encoding="utf-8")
    return Templates(texts)
