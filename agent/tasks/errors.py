"""What can be wrong with a task, and where it says so."""

from dataclasses import dataclass

from arriero.prompts import ArrieroError


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a file; ``line`` counts from 1, 0 where there is none."""

    line: int
    place: str
    message: str

    def at(self, file: str) -> str:
        """The problem as compilers write it: file, line, what."""
        where = f"{file}:{self.line}" if self.line else file
        return f"{where}: {self.place}: {self.message}" if self.place else f"{where}: {self.message}"


class TaskError(ArrieroError):
    """A task cannot be read or run; ``problems`` are all that were found."""

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems
