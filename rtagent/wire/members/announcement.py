"""What members say of themselves over MQTT: JSON, signed.

An announcement is one JSON object. Its signature is HMAC-SHA256 (RFC 2104) over the same object without ``signature``,
written canonically: keys sorted, no spaces, ASCII. The secret is the same for all members, so a signature proves that
a member said it, not which one. ``boot`` grows with every start of an agent and ``sequence`` with everything it says,
so an old announcement that somebody repeats is recognised. ``since`` tells of each thing that only one member may have
since when it has it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from rtagent.vector.claims import Claim
from rtagent.vector.members import Role
from rtagent.wire.members import fields
from rtagent.wire.toml.schema import one_of, whole

VERSION = 1
MAX_BYTES = 65_536
"""A longer one is not looked at: a member with some hundred prefixes needs 10 KiB."""
_MOST = (1 << 63) - 1


class Announcement(NamedTuple):
    """A member's word on itself."""

    claim: Claim
    """``claimant`` is the machine; ``alive`` is not told here."""
    boot: int
    sequence: int
    ttl_s: int
    """How long it counts as fresh."""


class Liveness(NamedTuple):
    """Whether a member's agent is connected; said by itself, or by the broker in its name when it is gone."""

    id: str
    machine: str
    boot: int
    alive: bool


class Refused(Exception):
    """What came is no announcement that counts; the text says why."""


def encode(announcement: Announcement, secret: bytes) -> bytes:
    """Return an announcement as it is published."""
    claim = announcement.claim
    return _signed(
        {
            "kind": "member",
            "id": claim.id,
            "machine": claim.claimant,
            "role": claim.role,
            "asn": claim.asn,
            "router_id": _text(claim.router_id),
            "address4": _text(claim.address4),
            "address6": _text(claim.address6),
            "pods": None if claim.pods is None else [str(prefix) for prefix in claim.pods],
            "labels": dict(claim.labels),
            "since": dict(claim.since),
            "left": claim.left,
            "boot": announcement.boot,
            "sequence": announcement.sequence,
            "ttl_s": announcement.ttl_s,
        },
        secret,
    )


def decode(payload: bytes, secret: bytes) -> Announcement:
    """Return what ``payload`` announces. Raises Refused."""
    body = _verified(payload, secret, "member")
    try:
        since = body["since"]
        claim = Claim(
            id=fields.member_id(body["id"]),
            claimant=fields.member_id(body["machine"]),
            role=_or_none(lambda value: Role(one_of(*Role)(value)), body["role"]),
            asn=_or_none(whole(1, 4_294_967_294), body["asn"]),
            router_id=_or_none(fields.router_id, body["router_id"]),
            address4=_or_none(fields.address4, body["address4"]),
            address6=_or_none(fields.address6, body["address6"]),
            pods=_or_none(fields.prefixes, body["pods"]),
            labels=fields.labels(body["labels"]),
            left=_flag(body["left"]),
        )
        claim = claim._replace(since=tuple((name, _moment(since[name])) for name in sorted(claim.resources)))
        return Announcement(
            claim,
            whole(0, _MOST)(body["boot"]),
            whole(0, _MOST)(body["sequence"]),
            whole(1, _MOST)(body["ttl_s"]),
        )
    except KeyError as error:
        raise Refused(f"it has no {error.args[0]}") from None
    except (ValueError, TypeError) as error:
        raise Refused(f"it holds what no member has: {error or 'a field of another kind'}") from None


def encode_liveness(liveness: Liveness, secret: bytes) -> bytes:
    """Return whether a member is connected as it is published, or left with the broker as its will."""
    return _signed({"kind": "alive"} | liveness._asdict(), secret)


def decode_liveness(payload: bytes, secret: bytes) -> Liveness:
    """Return what ``payload`` says. Raises Refused."""
    body = _verified(payload, secret, "alive")
    try:
        return Liveness(
            fields.member_id(body["id"]),
            fields.member_id(body["machine"]),
            whole(0, _MOST)(body["boot"]),
            _flag(body["alive"]),
        )
    except KeyError as error:
        raise Refused(f"it has no {error.args[0]}") from None
    except ValueError:
        raise Refused("it holds a field of another kind") from None


def _signed(body: Mapping[str, Any], secret: bytes) -> bytes:
    body = {"rtagent": VERSION} | dict(body)
    return _canonical(body | {"signature": _signature(body, secret)})


def _verified(payload: bytes, secret: bytes, kind: str) -> dict[str, Any]:
    if len(payload) > MAX_BYTES:
        raise Refused(f"it is longer than {MAX_BYTES} bytes")
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        raise Refused("it is not JSON") from None
    if not isinstance(body, dict) or not isinstance(signature := body.pop("signature", None), str):
        raise Refused("it is not signed")
    if not hmac.compare_digest(signature.encode("utf-8", "replace"), _signature(body, secret).encode()):
        raise Refused("its signature is wrong: forged, or made with another secret")
    if body.get("rtagent") != VERSION or body.get("kind") != kind:
        raise Refused(f"it is version {body.get('rtagent')} of {body.get('kind')!r}, not {VERSION} of {kind!r}")
    return body


def _signature(body: Mapping[str, Any], secret: bytes) -> str:
    return hmac.new(secret, _canonical(body), hashlib.sha256).hexdigest()


def _canonical(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _or_none(check: Any, value: Any) -> Any:
    return None if value is None else check(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _moment(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e12:
        raise ValueError("a time that is none")
    return float(value)
