"""The functions of Bicep that the templates use, close enough for their values to be judged."""

import hashlib
import ipaddress
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class Unknown(str):
    """A value that Azure alone knows. It reads like its origin: «vault.properties.vaultUri»."""

    __slots__ = ()


def unknown(text: object) -> Unknown:
    return Unknown("«" + str(text).replace("«", "").replace("»", "") + "»")


def union(*values: Any) -> Any:
    if all(isinstance(value, Mapping) for value in values):
        return {key: value for each in values for key, value in each.items()}
    return list(dict.fromkeys(item for each in values for item in each))


def concat(*values: Any) -> Any:
    if all(isinstance(value, list) for value in values):
        return [item for each in values for item in each]
    return "".join(map(str, values))


def unique_string(*parts: object) -> str:
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:13]


def guid(*parts: object) -> Unknown:
    return unknown(f"guid({', '.join(map(str, parts))})")


def cidr_subnet(network: str, size: int, index: int) -> str:
    return str(list(ipaddress.ip_network(network).subnets(new_prefix=size))[index])


def subscription_resource_id(kind: str, *names: str) -> Unknown:
    return unknown(f"/subscriptions/…/providers/{kind}/{'/'.join(names)}")


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "union": union,
    "concat": concat,
    "uniqueString": unique_string,
    "guid": guid,
    "cidrSubnet": cidr_subnet,
    "subscriptionResourceId": subscription_resource_id,
    "take": lambda value, count: value[:count],
    "empty": lambda value: value is None or len(value) == 0,
    "length": len,
    "contains": lambda value, item: item in value,
    "replace": lambda value, old, new: value.replace(old, new),
    "toLower": lambda value: value.lower(),
    "string": str,
    "subscription": lambda: {
        "id": unknown("subscription().id"),
        "subscriptionId": unknown("subscription().subscriptionId"),
    },
    "tenant": lambda: {"tenantId": unknown("tenant().tenantId")},
    "environment": lambda: {"suffixes": {"storage": "core.windows.net"}},
    "loadTextContent": lambda folder, path: (Path(folder) / path).read_text(),
}
"""`loadTextContent` is given the folder of the calling file first."""
