"""A bounded number of kernels: the one that rests for longest goes, and nobody goes while it works."""

import asyncio

from arriero.tools.python.room import Room


class Guest:
    def __init__(self) -> None:
        self.live = False
        self.sent_away: list[str] = []

    def rest(self, why: str) -> None:
        self.live = False
        self.sent_away.append(why)


async def visit(room: Room, guest: Guest) -> None:
    await room.enter(guest)
    guest.live = True


def test_the_one_that_rests_for_longest_goes() -> None:
    async def play() -> None:
        room, (a, b, c) = Room(2), (Guest(), Guest(), Guest())
        for guest in (a, b, a):
            await visit(room, guest)
            room.leave(guest)
        await visit(room, c)
        assert (a.live, b.live, c.live) == (True, False, True)
        assert b.sent_away == ["other conversations needed the memory"]
        assert a.sent_away == []

    asyncio.run(play())


def test_who_works_is_waited_for() -> None:
    async def play() -> None:
        room, (a, b, c) = Room(1), (Guest(), Guest(), Guest())
        await visit(room, a)
        waiting = [asyncio.create_task(visit(room, guest)) for guest in (b, c)]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in waiting)
        room.leave(a)
        await asyncio.sleep(0.01)
        assert sum(task.done() for task in waiting) == 1
        assert a.sent_away
        room.leave(b if b.live else c)
        await asyncio.gather(*waiting)
        assert sum(guest.live for guest in (a, b, c)) == 1

    asyncio.run(play())


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def play() -> None:
        room, (a, b) = Room(1), (Guest(), Guest())
        await visit(room, a)
        waiting = asyncio.create_task(visit(room, b))
        await asyncio.sleep(0.01)
        waiting.cancel()
        room.leave(a)
        await asyncio.wait_for(visit(room, a), 1)
        assert a.sent_away == []

    asyncio.run(play())


def test_a_guest_without_a_kernel_takes_no_room() -> None:
    async def play() -> None:
        room, (a, b) = Room(1), (Guest(), Guest())
        await visit(room, a)
        a.live = False  # it died while it was used
        room.leave(a)
        await asyncio.wait_for(visit(room, b), 1)

    asyncio.run(play())
