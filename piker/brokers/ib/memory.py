"""What was learnt, so far as there is room for it."""

from collections import OrderedDict
from collections.abc import ItemsView
from typing import Generic, TypeVar

Key = TypeVar("Key")
Kept = TypeVar("Kept")


class Memory(Generic[Key, Kept]):
    """A bounded memory: what was used least of late is forgotten."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    def get(self, key: Key) -> Kept | None:
        """What is remembered."""
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def put(self, key: Key, kept: Kept) -> None:
        """Remember it."""
        self._kept[key] = kept
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def items(self) -> ItemsView[Key, Kept]:
        """All, what was used last of late at the end."""
        return self._kept.items()

    def __len__(self) -> int:
        return len(self._kept)
