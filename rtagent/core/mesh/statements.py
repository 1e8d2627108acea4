"""BIRD's configuration read back: what each session says, with everything that it refers to.

Only as much of the language as a comparison needs: statements, blocks, comments, strings and names. A session is the
flat list of its statements and of its templates'; a statement that mentions a function or a constant carries its
definition, so that two texts can be compared session by session, however they are laid out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_TOKEN = re.compile(r"""#[^\n]*|/\*.*?\*/|"[^"\n]*"|'[^'\n]*'|[A-Za-z_]\w*|[^\s"'#{};\[\]()]+|[{};\[\]()]""", re.DOTALL)
_COMMENTS = ("#", "/*")
_SESSION = re.compile(r"(protocol bgp (\S+) from \w+ \{\n(?:[ \t].*\n|\n)*\}\n)")
"""At the beginning of a line, which is looked at afterwards: what begins with a letter is found much sooner."""
_FEW = 16
"""Of so few changed names it is faster to look for each in a text than to take the text apart."""
_OPENING, _CLOSING = ("[", "("), ("]", ")")


class Statement(NamedTuple):
    """One statement of a session."""

    channel: str
    """``ipv4``, ``ipv6``, or empty for the session itself."""
    text: str
    """In canonical spelling: tokens with one space between."""
    refers: frozenset[str]
    """The definitions of all that it mentions, and of what those mention."""


class _Node(NamedTuple):
    tokens: tuple[str, ...]
    body: tuple[_Node, ...] | None

    @property
    def text(self) -> str:
        inner = "" if self.body is None else " { " + " ".join(f"{node.text};" for node in self.body) + " }"
        return " ".join(self.tokens) + inner

    def names(self) -> Iterator[str]:
        yield from self.tokens
        for node in self.body or ():
            yield from node.names()


class Document:
    """The files of one configuration.

    Sessions that are laid out as generated ones are (one line of a head, indented lines, a brace) are kept as text and
    parsed when they are asked for: of a thousand sessions a change rarely touches more than a few.
    """

    def __init__(self, files: Mapping[str, str]) -> None:
        self._texts: dict[str, str] = {}
        nodes = [node for _, text in sorted(files.items()) for node in _parse(self._set_aside(text))]
        self._templates = {name: node for node in nodes if (name := _name_of(node, "template", "bgp"))}
        self._parsed = {name: node for node in nodes if (name := _name_of(node, "protocol", "bgp"))}
        self._defined = {
            node.tokens[1]: node
            for node in nodes
            if len(node.tokens) > 1 and node.tokens[0] in ("define", "function", "filter")
        }
        self._names = frozenset(self._defined)
        self._closures: dict[str, frozenset[str]] = {}
        self.others = {
            " ".join(node.tokens): node.text
            for node in nodes
            if node.tokens[0] == "protocol" and node.tokens[1] != "bgp"
        }
        """The protocols that are no sessions: how they begin → their text."""

    @property
    def sessions(self) -> frozenset[str]:
        """The names of the sessions' protocols."""
        return frozenset(self._texts) | frozenset(self._parsed)

    def statements(self, session: str) -> frozenset[Statement]:
        """Return the statements of a session, its template's among them."""
        if session not in self._parsed:
            (self._parsed[session],) = _parse(self._texts[session])
        return frozenset(self._statements(self._parsed[session]))

    def touched(self, other: Document) -> list[str]:
        """Return the sessions of both documents that may differ: by their text, or by what it refers to."""
        mine, theirs = ({**one._templates, **one._defined} for one in (self, other))
        changed = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
        while more := {
            name
            for definitions in (mine, theirs)
            for name, node in definitions.items()
            if name not in changed and not changed.isdisjoint(node.names())
        }:
            changed |= more
        return [
            name
            for name in self.sessions & other.sessions
            if name not in self._texts
            or self._texts[name] != other._texts.get(name)
            or _mentions(self._texts[name], changed)
        ]

    def _set_aside(self, text: str) -> str:
        """Return the text without the sessions that are kept as text."""
        rest, *found = _SESSION.split(text)
        for session, name, after in zip(found[::3], found[1::3], found[2::3], strict=True):
            if rest and not rest.endswith("\n"):
                rest += session
            else:
                self._texts[_unquoted(name)] = session
            rest += after
        return rest

    def _statements(self, node: _Node) -> Iterator[Statement]:
        if "from" in node.tokens:
            template = self._templates.get(_unquoted(node.tokens[node.tokens.index("from") + 1]))
            if template is not None:
                yield from self._statements(template)
        for inner in node.body or ():
            if inner.tokens[0] in ("ipv4", "ipv6"):
                yield Statement(inner.tokens[0], "", frozenset())
                for row in inner.body or ():
                    yield Statement(inner.tokens[0], row.text, self._refers(row))
            else:
                yield Statement("", inner.text, self._refers(inner))

    def _refers(self, node: _Node) -> frozenset[str]:
        found: frozenset[str] = frozenset()
        for name in self._names.intersection(node.tokens if node.body is None else node.names()):
            found |= self._closure(name)
        return found

    def _closure(self, name: str) -> frozenset[str]:
        known = self._closures.get(name)
        if known is None:
            node = self._defined[name]
            self._closures[name] = frozenset({node.text})  # what mentions itself ends here
            rest = [self._closure(other) for other in node.names() if other in self._defined and other != name]
            known = self._closures[name] = frozenset({node.text}).union(*rest)
        return known


def _mentions(text: str, names: set[str]) -> bool:
    if len(names) <= _FEW:
        return any(name in text for name in names)
    return not names.isdisjoint(_TOKEN.findall(text))


def _name_of(node: _Node, kind: str, protocol: str) -> str:
    return _unquoted(node.tokens[2]) if node.tokens[:2] == (kind, protocol) and len(node.tokens) > 2 else ""


def _unquoted(name: str) -> str:
    return name.strip("'")


def _parse(text: str) -> tuple[_Node, ...]:
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith(_COMMENTS)]
    tokens.reverse()
    return _block(tokens)


def _block(tokens: list[str]) -> tuple[_Node, ...]:
    """Take statements up to the closing brace, or to the end."""
    nodes: list[_Node] = []
    head: list[str] = []
    depth = 0
    while tokens:
        token = tokens.pop()
        if depth or token in _OPENING:
            depth += (token in _OPENING) - (token in _CLOSING)
            head.append(token)
        elif token == "{":
            nodes.append(_Node(tuple(head), _block(tokens)))
            head = []
        elif token == "}":
            break
        elif token != ";":
            head.append(token)
        elif head:
            nodes.append(_Node(tuple(head), None))
            head = []
    if head:
        nodes.append(_Node(tuple(head), None))
    return tuple(nodes)
