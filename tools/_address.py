"""Which network addresses a page may be fetched from: public ones, and those that the user has allowed."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Special purposes that older Pythons take for public (IANA's registries), and what two clouds serve metadata from.
_SPECIAL: tuple[IPNetwork, ...] = (
    ipaddress.IPv4Network("192.0.0.0/24"),  # 192.0.0.192 is Oracle's
    ipaddress.IPv4Network("192.88.99.0/24"),
    ipaddress.IPv4Network("168.63.129.16/32"),  # Azure's
    ipaddress.IPv6Network("64:ff9b:1::/48"),
    ipaddress.IPv6Network("3fff::/20"),
    ipaddress.IPv6Network("5f00::/16"),
)


def why_not_public(address: IPAddress) -> str:
    """Say what kind of address it is when it does not belong to the public internet; empty when it does.

    An IPv4 address inside an IPv6 one is judged as IPv4 where networks translate it (RFC 4291 2.5.5.2 and
    RFC 6052), and refused where only obsolete tunnels would (6to4, Teredo).
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return why_not_public(address.ipv4_mapped)
        if address in _NAT64:
            return why_not_public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if address.sixtofour is not None or address.teredo is not None:
            return "a tunnel"
        if address.is_site_local:
            return "a private"
    if address.is_unspecified:
        return "an unspecified"
    if address.is_loopback:
        return "a loopback"
    if address.is_link_local:
        return "a link-local"
    if address.is_multicast:
        return "a multicast"
    if address.is_private:
        return "a private"
    special = any(address in network for network in _SPECIAL)
    return "" if address.is_global and not address.is_reserved and not special else "a reserved"


@dataclass(frozen=True, slots=True)
class Allowed:
    """One entry of an ``allow`` list: a host name or a network, and maybe a port."""

    host: str = ""
    network: IPNetwork | None = None
    port: int | None = None

    @classmethod
    def read(cls, entry: str) -> "Allowed":
        """Read ``host``, ``10.0.0.0/8``, ``127.0.0.1:8080`` or ``[fd00::/8]:443``; ValueError for the rest."""
        text, port = entry.strip(), None
        bracket = text.startswith("[")
        body, colon, tail = text.rpartition(":")
        if colon and (body.endswith("]") if bracket else ":" not in body):
            if not (tail.isascii() and tail.isdigit() and 0 < int(tail) < 65536):
                raise ValueError(f"{entry!r} has a port that is none")
            text, port = body, int(tail)
        text = text.removeprefix("[").removesuffix("]") if bracket else text
        try:
            return cls(network=ipaddress.ip_network(text, strict=False), port=port)
        except ValueError:
            name = text.lower().rstrip(".")
            if not name or any(char.isspace() or char in "/:@[]*" for char in name):
                raise ValueError(f"{entry!r} is neither a host name nor a network") from None
            return cls(host=name, port=port)

    def has_host(self, host: str, port: int) -> bool:
        """Whether the entry names this host, at this port or at any."""
        return bool(self.host) and self.host == host.lower().rstrip(".") and self.port in (None, port)

    def has_address(self, address: IPAddress, port: int) -> bool:
        """Whether the address lies in the entry's network, at this port or at any."""
        if self.network is None or self.port not in (None, port):
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return address in self.network


def read_allowed(entries: Iterable[str]) -> tuple[Allowed, ...]:
    """Read a whole ``allow`` list; ValueError for the first entry that is none."""
    return tuple(Allowed.read(entry) for entry in entries)
