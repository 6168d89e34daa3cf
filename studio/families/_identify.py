"""Which family a state dict belongs to."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from studio.discovery import DrawerError
from studio.families._family import Family
from studio.families._keys import Shapes


class Unclear(DrawerError):
    """Weights have the keys of several families, and none of these is before the others."""


def identify(shapes: Shapes, families: Mapping[str, Family]) -> Family | None:
    """The family whose rule holds for these tensors; None if none does.

    Where several hold, the one that the others name in `before` wins. Raises `Unclear` if
    none is, and `DrawerError` if `before` runs in a circle or names nobody.
    """
    earlier = _earlier(families)
    matches = [family for family in families.values() if family.keys(shapes)]
    if not matches:
        return None
    for first in matches:
        if all(first is other or first.id in earlier[other.id] for other in matches):
            return first
    names = " and ".join(sorted(family.id for family in matches))
    raise Unclear(f"The families {names} claim the same weights and neither is before the other.")


def _earlier(families: Mapping[str, Family]) -> dict[str, set[str]]:
    """For each family the ids that must be tried before it, also by way of others."""
    for family in families.values():
        for name in family.before:
            if name not in families:
                raise DrawerError(
                    f"The family {family.id} comes after '{name}', which is not there."
                )
    try:
        order = TopologicalSorter({f.id: f.before for f in families.values()}).static_order()
        found: dict[str, set[str]] = {}
        for name in order:
            direct = families[name].before
            found[name] = set(direct).union(*(found[other] for other in direct))
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise DrawerError(f"The families {circle} each come before the other.") from None
    return found
