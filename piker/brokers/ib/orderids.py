"""Ids of orders: each is higher than any that was used, whatever a gateway says the next one is.

A gateway that was restarted may begin at 1 again, while orders of before are still open: an order
by the id of one of them would change that one.
"""

MOST = 1_000_000_000
"""Beyond are the numbers of requests (session.FIRST_NUMBER)."""


class NoIdLeft(Exception):
    """The ids of this client are used up; the text says what to do."""


class OrderIds:
    """Gives ids. It never goes back: not with a gateway, nor with a connection."""

    def __init__(self) -> None:
        self._highest = 0

    def say_next(self, order_id: int) -> None:
        """The gateway says that this is the next one."""
        self.say_used(order_id - 1)

    def say_used(self, order_id: int) -> None:
        """An order has this id, or had it."""
        self._highest = max(self._highest, order_id)

    def skip(self, count: int) -> None:
        """So many more may have been used, of which nobody tells the ids."""
        self._highest += count

    def take(self) -> int:
        """An id that was never used. Raises NoIdLeft."""
        if self._highest >= MOST:
            raise NoIdLeft(
                f"expected order ids below {MOST}, was {self._highest}: reset the order ids in the "
                "gateway's settings, or set another orders_client in piker.toml"
            )
        self._highest += 1
        return self._highest
