"""Progress of a pass over images."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 10.0


class ImageProgress:
    """A progress bar on a terminal, elsewhere occasional lines; on the error stream.

    Args:
        total: Number of images.
        what: Name of the counted things, if they are not images.
    """

    def __init__(self, total: int, what: str = "images") -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn(what), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=total)
        self._total = total
        self._what = what
        self._done = 0
        self._shown = time.monotonic()

    def __enter__(self) -> "ImageProgress":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._bar.disable:  # Before rich 14.3, one that was never shown ends in an empty line.
            self._bar.stop()

    def __call__(self, done: int) -> None:
        """Show that ``done`` more images are done."""
        self._done += done
        self._bar.advance(self._task, done)
        if not self._console.is_terminal and time.monotonic() - self._shown > _SECONDS_BETWEEN_LINES:
            self._shown = time.monotonic()
            print(f"{self._done} of {self._total} {self._what}", file=self._console.file, flush=True)
