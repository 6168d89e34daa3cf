"""Styles in words: one's own, which the gallery keeps, and those that everybody has."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from studio.core.errors import InvalidRequest
from studio.core.records import Preset

if TYPE_CHECKING:
    from studio.gallery.store import Gallery


@dataclass(frozen=True, kw_only=True, slots=True)
class Styles:
    """Every method is about one owner's."""

    gallery: "Gallery"
    house: Callable[[], tuple[Preset, ...]]
    """Those that everybody has."""
    checked: Callable[[Preset], Preset]
    read_csv: Callable[[bytes], tuple[Preset, ...]]
    write_csv: Callable[[Sequence[Preset]], bytes]

    def shown(self, owner: str) -> list[dict[str, Any]]:
        """One's own, then the house's, each name once."""
        own = self.gallery.presets(owner)
        listed: dict[str, dict[str, Any]] = {}
        for preset, mine in (*((p, True) for p in own), *((p, False) for p in self.house())):
            listed.setdefault(preset.name, {**asdict(preset), "own": mine})
        return list(listed.values())

    def get(self, owner: str, name: str) -> Preset:
        """Raises `InvalidRequest`."""
        for preset in (*self.gallery.presets(owner), *self.house()):
            if preset.name == name:
                return preset
        raise InvalidRequest(
            f"There is no style '{name[:60]}'.",
            "Choose another one, or write one of that name.",
            field="styles",
        )

    def save(self, owner: str, preset: Preset) -> dict[str, Any]:
        """Keeps a style of one's own. Raises `InvalidRequest`, `TooLarge`."""
        kept = self.checked(preset)
        self.gallery.save_presets(owner, [kept])
        return {**asdict(kept), "own": True}

    def remove(self, owner: str, name: str) -> None:
        self.gallery.remove_preset(owner, name)

    def exported(self, owner: str) -> bytes:
        """One's own as A1111's `styles.csv`."""
        return self.write_csv(self.gallery.presets(owner))

    def take_in(self, owner: str, data: bytes) -> list[dict[str, Any]]:
        """Makes the styles of such a file one's own. Raises `InvalidRequest`, `TooLarge`."""
        self.gallery.save_presets(owner, self.read_csv(data))
        return self.shown(owner)
