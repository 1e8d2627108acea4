"""VPP's words for its negative answers (vnet/error.h, foreach_vnet_error): those that our requests can get."""

from __future__ import annotations

NO_SUCH_INTERFACE = -2
NO_SUCH_FIB = -3
NO_SUCH_ENTRY = -6
INVALID_VALUE = -7
UNIMPLEMENTED = -9
NO_MATCHING_INTERFACE = -54
IPV6_NOT_ENABLED = -62
VALUE_EXISTS = -81
ENTRY_ALREADY_EXISTS = -116
TRY_AGAIN = -165
"""There is more: ask again with the cursor."""

_TEXTS = {
    -1: "Unspecified Error",
    NO_SUCH_INTERFACE: "Invalid sw_if_index",
    NO_SUCH_FIB: "No such FIB / VRF",
    -4: "No such inner FIB / VRF",
    -5: "No such label",
    NO_SUCH_ENTRY: "No such entry",
    INVALID_VALUE: "Invalid value",
    -8: "Invalid value #2",
    UNIMPLEMENTED: "Unimplemented",
    -30: "Feature disabled by configuration",
    -31: "Invalid registration",
    -50: "Next hop not in FIB",
    -51: "Unknown destination",
    -52: "No paths specified in route",
    -53: "Next hop not found (multipath)",
    NO_MATCHING_INTERFACE: "No matching interface for probe",
    -56: "VLAN subif already exists",
    -60: "Address not found for interface",
    -61: "Address not deletable",
    IPV6_NOT_ENABLED: "ip6 not enabled",
    -65: "No such table",
    -68: "Subinterface already exists",
    -73: "Invalid argument",
    -79: "Interface already exists",
    VALUE_EXISTS: "Value already exists",
    -82: "Source and destination are the same",
    -88: "IP prefix invalid (masked bits set in address",
    -97: "Invalid address family",
    -98: "Invalid sub-interface sw_if_index",
    -105: "Address in use",
    -107: "Queue full",
    -114: "Address found for interface",
    ENTRY_ALREADY_EXISTS: "Entry already exists",
    -126: "Unsupported",
    -127: "Duplicate interface address",
    -147: "Instance in use",
    -157: "Unsupported FIB Path protocol",
    -160: "No change in table",
    -162: "limit exceeded",
    -168: "Bug",
    -171: "Invalid prefix length",
}


def retval_text(retval: int) -> str:
    """Return VPP's words for a negative answer."""
    return _TEXTS.get(retval, f"VPP's error {retval}")
