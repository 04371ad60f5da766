"""What is remembered, bounded in bytes; whatever was used least recently goes first."""

from collections import OrderedDict
from typing import Final, Generic, Protocol, TypeVar

# What an entry takes beside its own text: objects, key, its place here. Measured, and rounded up.
OVERHEAD: Final = 2048  # bytes


class Sized(Protocol):
    """What knows how large it is."""

    @property
    def size(self) -> int:
        """Bytes of its text."""
        ...


Value = TypeVar("Value", bound=Sized)


class BoundedCache(Generic[Value]):
    """Values by their keys. What is kept may be of no use any more: the reader judges that."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._values: OrderedDict[bytes, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def size(self) -> int:
        """What all of it takes, about."""
        return self._bytes

    def find(self, key: bytes) -> Value | None:
        """Return what is kept under a key."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: bytes, value: Value) -> None:
        """Keep a value, and drop as many others as it takes; one that is too large alone is not."""
        self.drop(key)
        if _cost(value) > self._max_bytes:
            return
        self._values[key] = value
        self._bytes += _cost(value)
        while self._bytes > self._max_bytes:
            _, dropped = self._values.popitem(last=False)
            self._bytes -= _cost(dropped)

    def drop(self, key: bytes) -> None:
        """Forget what is kept under a key, if anything is."""
        value = self._values.pop(key, None)
        if value is not None:
            self._bytes -= _cost(value)


def _cost(value: Sized) -> int:
    return value.size + OVERHEAD
