"""One line at the end of the screen that is written over again while something goes on."""

from .terminal import Terminal, neutral


def fit(text: str, cells: int) -> str:
    """The head of one line of text that takes at most ``cells`` columns; East Asian characters take two."""
    from rich.cells import cell_len

    text = text[:cells].replace("\t", " ")
    while cell_len(text) > cells:
        text = text[:-1]
    return text


class StatusLine:
    """One line that is written over again; nothing at all off a terminal, where it is not ``on``."""

    def __init__(self, terminal: Terminal, *, quiet: bool = False) -> None:
        self._terminal = terminal
        self.on = terminal.interactive and not quiet
        self._shown = ""

    def show(self, text: str) -> None:
        """Replace the line; longer text is cut at the width."""
        if not self.on:
            return
        text = fit(text, self._terminal.width - 1)
        if text != self._shown:
            dim, end = ("\x1b[2m", "\x1b[0m") if self._terminal.colour else ("", "")
            self._terminal.stream.write(f"\r\x1b[2K{dim}{text}{end}")
            self._terminal.stream.flush()
            self._shown = text

    def preview(self, text: str) -> None:
        """Show the end of text that is being written."""
        last = neutral(text).rstrip().rpartition("\n")[2]
        if last:
            self.show(last[-(self._terminal.width - 1) :])

    def clear(self) -> None:
        """Take the line away."""
        if self.on and self._shown:
            self._terminal.stream.write("\r\x1b[2K")
            self._terminal.stream.flush()
            self._shown = ""
