"""Names of machines and addresses, as people and headers write them."""

import ipaddress


def bare(name: str) -> str:
    """Without the brackets of an IPv6 address and the dot of the root, in small letters."""
    return name.strip("[]").rstrip(".").casefold()


def is_address(name: str) -> bool:
    """True for an IP address, False for a name."""
    try:
        ipaddress.ip_address(bare(name))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """True if nobody but this machine can reach what listens on `host`."""
    return bare(host) == "localhost" or (
        is_address(host) and ipaddress.ip_address(bare(host)).is_loopback
    )
