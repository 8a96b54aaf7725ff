"""Whose turn it is: tenants one after another, and within a tenant first come, first served."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Turns(Generic[T]):
    """Those who wait, by tenant. A tenant with a hundred waiting gets one turn in each round, as one with a single one does."""

    __slots__ = ("_tenants", "_waiting")

    def __init__(self) -> None:
        self._tenants: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        """in the order of their turns"""
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    @property
    def greed(self) -> int:
        """How many of the tenant with the most are waiting."""
        return max(map(len, self._tenants.values()), default=0)

    def add(self, tenant: str, item: T) -> None:
        """Queues behind the tenant's others; a tenant that had none waiting is last in the round."""
        self._tenants.setdefault(tenant, OrderedDict())[item] = None
        self._waiting += 1

    def take(self) -> T | None:
        """The oldest of the tenant whose turn it is, which is last in the next round; None: nobody waits."""
        if not self._tenants:
            return None
        tenant, items = next(iter(self._tenants.items()))
        item, _ = items.popitem(last=False)
        self._waiting -= 1
        if items:
            self._tenants.move_to_end(tenant)
        else:
            del self._tenants[tenant]
        return item

    def drop(self) -> T:
        """The newest of the tenant with the most waiting; of several such tenants, of the one whose turn is last."""
        tenant = max(reversed(self._tenants), key=lambda name: len(self._tenants[name]))
        item = next(reversed(self._tenants[tenant]))
        self.remove(tenant, item)
        return item

    def remove(self, tenant: str, item: T) -> None:
        """Takes out one that no longer waits; nothing happens when it is out already."""
        items = self._tenants.get(tenant)
        if items is None or item not in items:
            return
        del items[item]
        self._waiting -= 1
        if not items:
            del self._tenants[tenant]
