"""What the person who runs the bench chose."""

from dataclasses import dataclass


@dataclass
class Settings:
    quick: bool
    repeat: int
    folder: str  # a scratch one on a real disk, removed by who made it

    def pick(self, usual: int, quick: int) -> int:
        """A size: the usual one, or one that is enough to see that everything works."""
        return quick if self.quick else usual

    @property
    def few(self) -> int:
        """Repetitions of what is costly and varies little."""
        return min(self.repeat, 3)
