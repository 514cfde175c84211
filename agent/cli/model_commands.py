"""``arriero models``: models that can be had, models that are here, and what a file says of itself."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from .options import CONTEXT
from .terminal import neutral


@click.group(context_settings=CONTEXT)
def models() -> None:
    """List, fetch, check and remove models."""


@models.command("list", context_settings=CONTEXT)
@click.option("--here", is_flag=True, help="Only those on this machine.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def list_models(here: bool, as_json: bool) -> None:
    """Models that can be had by name, and those that are here."""
    from arriero.agent.store import ModelStore

    store = ModelStore()
    installed = store.installed()
    if as_json:
        wanted: dict[str, Any] = {"here": [model.model_dump(mode="json") for model in installed]}
        if not here:
            wanted["catalogue"] = store.catalogue.model_dump(mode="json")
        click.echo(json.dumps(wanted, indent=1))
        return
    names = {model.name for model in installed}
    for model in installed:
        click.echo(
            f"{neutral(model.name):26} here       {model.size / 1e9:7.2f} GB  {neutral(model.reference)}"
        )
    if here:
        if not installed:
            click.echo("no models here yet; arriero models list shows what can be had", err=True)
        return
    for entry in store.catalogue.models:
        for quant, how in entry.quants.items():
            if f"{entry.name}-{quant}" in names:
                continue
            mark = " (default)" if quant == entry.default else ""
            gated = ", needs an account" if entry.gated else ""
            click.echo(
                f"{entry.name + ':' + quant:26} to get  ~ {how.gb:7.2f} GB  "
                f"{entry.title}{mark}, about {how.ram_gb:g} GB of memory{gated}"
            )


@models.command(context_settings=CONTEXT)
@click.argument("model")
@click.option("--sha256", default="", metavar="SUM", help="The file's SHA-256, where you know it.")
@click.option(
    "--from-file",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Take this file of it instead of fetching it (repeatable: all parts of a split model).",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def pull(model: str, sha256: str, files: tuple[Path, ...], quiet: bool) -> None:
    """Fetch a model, or go on with it; its path is printed at the end.

    MODEL is a name of the list (llama3.1-8b, llama3.1-8b:q8_0), a file of the hub (hf:OWNER/REPO/FILE.gguf,
    hf:OWNER/REPO:Q4_K_M), or the address of a GGUF file. Ctrl-C keeps what has arrived. Where there is no network,
    --from-file puts a file that is here already under the name.
    """
    from arriero.agent.store import ModelStore, read_reference

    def work() -> None:
        store = ModelStore()
        meant = read_reference(model, store.catalogue)
        if meant.licence and not quiet:
            click.echo(f"licence: {meant.licence}", err=True)
        shown = _Progress(sys.stderr if not quiet else None)
        try:
            if files:
                path = store.take(model, files, sha256=sha256, on_progress=shown)
            else:
                path = asyncio.run(store.pull(model, sha256=sha256, on_progress=shown))
        except KeyboardInterrupt:
            shown.end()
            goes_on = "nothing was taken" if files else f"arriero models pull {model} goes on from here"
            click.echo(f"stopped; {goes_on}", err=True)
            raise
        shown.end()
        click.echo(str(path))

    _told(work)


@models.command(context_settings=CONTEXT)
@click.argument("model", default="bundled")
@click.option("--template", is_flag=True, help="Print the chat template as it is in the file.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(model: str, template: bool, as_json: bool) -> None:
    """What a model's file says of itself, and which wire form it is spoken to in, and why."""

    def work() -> None:
        from dataclasses import asdict

        from arriero.agent.backends.gguf import GGUFInfo
        from arriero.agent.store.describe import describe
        from arriero.agent.store.opening import model_path

        told = describe(GGUFInfo.read(model_path(model)))
        if template:
            click.echo(neutral(told.template))
        elif as_json:
            click.echo(json.dumps(asdict(told), indent=1))
        else:
            for line in told.lines():
                click.echo(neutral(line))

    _told(work)


@models.command(context_settings=CONTEXT)
@click.argument("model")
@click.option("--fix", is_flag=True, help="Delete what is broken, so that pull fetches it again.")
def verify(model: str, fix: bool) -> None:
    """Read a model's files again and compare their sums with those of the download; exit code 1 if they differ."""
    from arriero.agent.store import ModelStore

    def work() -> None:
        store = ModelStore()
        wrong = store.verify(model)
        for line in wrong:
            click.echo(neutral(line), err=True)
        if wrong and fix:
            store.discard_broken(model)
            click.echo(f"removed; arriero models pull {model} fetches them again", err=True)
        if wrong:
            click.get_current_context().exit(1)
        files = store.find(model)
        click.echo(f"{model}: {len(files.files) if files else 0} files as they arrived")

    _told(work)


@models.command(context_settings=CONTEXT)
@click.argument("model")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(model: str, yes: bool) -> None:
    """Delete a model from this machine."""
    from arriero.agent.store import ModelStore

    def work() -> None:
        if not yes and not _confirmed(model):
            raise click.UsageError("nothing was deleted; without a terminal, say --yes")
        size = ModelStore().remove(model)
        click.echo(f"deleted {model}: {size / 1e9:.2f} GB")

    _told(work)


@models.command(context_settings=CONTEXT)
@click.argument("model", required=False)
def path(model: str | None) -> None:
    """The file of a model, for other programs; without MODEL the folder of all."""
    from arriero.agent.store import ModelStore
    from arriero.agent.store.opening import model_path

    _told(lambda: click.echo(str(model_path(model) if model else ModelStore().folder)))


class _Progress:
    """One line on a terminal, rewritten; on anything else a line every ten seconds."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._live = stream is not None and stream.isatty()
        self._every = 0.2 if self._live else 10.0
        self._last = time.monotonic()
        self._began: dict[str, tuple[float, int]] = {}
        self._drawn = False

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        started, at = self._began.setdefault(name, (now, done))
        if self._stream is None or now - self._last < self._every:
            return
        self._last = now
        rate = (done - at) / max(now - started, 1e-6)
        left = f"{(total - done) / rate:5.0f} s left" if total and rate > 0 else ""
        share = f"{done / total:4.0%} of {total / 1e9:.2f} GB" if total else f"{done / 1e9:.2f} GB"
        line = f"{neutral(name)}  {share}  {rate / 1e6:.1f} MB/s  {left}"
        if self._live:
            width = max(20, os.get_terminal_size(self._stream.fileno()).columns - 1)
            self._stream.write(f"\r\x1b[K{line[:width]}")
            self._drawn = True
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def end(self) -> None:
        """Clear the line."""
        if self._drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def _told(work: Callable[[], None]) -> None:
    """Do it; what arriero refuses becomes one line and an exit code."""
    from arriero.prompts import ArrieroError

    from .errors import say_error

    try:
        work()
    except ArrieroError as error:
        say_error(error)
        click.get_current_context().exit(1)


def _confirmed(model: str) -> bool:
    with suppress(ValueError, OSError):
        if sys.stdin.isatty():
            return click.confirm(f"delete {model}?", err=True)
    return False
