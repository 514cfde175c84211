"""How many kernels may live at once: whoever needs one more sends the one away that rests for longest."""

import asyncio
from typing import Protocol

_WHY = "other conversations needed the memory"


class Guest(Protocol):
    """What has a kernel or none."""

    @property
    def live(self) -> bool: ...

    def rest(self, why: str) -> None: ...


class Room:
    """Room for ``most`` live guests; to be used in one event loop."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._resting: dict[Guest, None] = {}  # in the order in which they came to rest
        self._using: set[Guest] = set()
        self._left = asyncio.Event()

    async def enter(self, guest: Guest) -> None:
        """Return when the guest may have a kernel; it keeps its place until it leaves."""
        self._resting.pop(guest, None)
        while not guest.live and len(self._using) + len(self._live()) >= self._most:
            if resting := self._live():
                self._resting.pop(resting[0])
                resting[0].rest(_WHY)
            else:
                self._left.clear()
                await self._left.wait()
        self._using.add(guest)

    def leave(self, guest: Guest) -> None:
        """The guest may rest now, and be sent away when another one needs the room."""
        self._using.discard(guest)
        self._resting = dict.fromkeys((*self._live(), *([guest] if guest.live else [])))
        self._left.set()

    def _live(self) -> list[Guest]:
        return [guest for guest in self._resting if guest.live]
