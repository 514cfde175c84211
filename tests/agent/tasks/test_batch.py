"""Batches: every row once, whatever kills the process in between."""

import asyncio
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from arriero import Artifact, FunctionModel, ScriptedModel, Tool, ToolResult, ToolSpec
from arriero.agent.cancellation import CancellationToken
from arriero.agent.tasks import Task, TaskError
from arriero.agent.tasks.batch import BatchResult, Progress, run_batch
from arriero.agent.tasks.records import Records
from arriero.agent.tasks.report import write_html
from arriero.agent.tasks.rows import read_rows

TASK = Task.parse(
    "name: t\ninputs: {n: {type: int}}\n"
    "steps:\n  - {id: a, prompt: 'n={{ inputs.n }}', check: [{matches: '^[0-8]'}]}\n"
)


def echo(prompt: str) -> str:
    return f"{re.findall('n=([0-9]+)', prompt)[-1]}<|eot_id|>"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"n": {n}}}\n' for n in range(10)))
    return path


def batch(rows: Path, out: Path, model: Any = None, task: Task = TASK, **options: Any) -> BatchResult:
    return asyncio.run(run_batch(task, rows, out, model or FunctionModel(echo), **options))


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def test_every_row_has_its_line_and_the_reports_say_so(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    seen: list[tuple[int, int]] = []

    def on_progress(progress: Progress) -> None:
        seen.append((progress.done, progress.failed))

    result = batch(rows, out, jobs=4, on_progress=on_progress)
    assert (result.total, result.statuses, result.missing) == (10, {"ok": 9, "failed": 1}, 0)
    assert sorted(line["result"]["output"] for line in lines(out)) == [str(n) for n in range(10)]
    assert seen[0] == (0, 0)
    assert seen[-1] == (10, 1)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["task"], manifest["digest"], manifest["rows"]) == ("t", TASK.digest, 10)
    kept = [file for file in out.rglob("*") if file.is_file()]
    assert {file.name: oct(file.stat().st_mode & 0o777) for file in kept} == {
        file.name: "0o600" for file in kept
    }
    suite = ElementTree.fromstring((out / "junit.xml").read_text())
    assert (suite.get("tests"), suite.get("failures")) == ("10", "1")
    assert "9 ok" in re.sub(r"<[^>]+>", "", (out / "report.html").read_text())


def test_rows_that_are_done_are_not_done_again(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(rows, out)
    model = FunctionModel(echo)
    assert batch(rows, out, model, resume=True).missing == 0
    assert model.prompts == []
    # Rows are known by what they say: reordered and with one more, only that one runs.
    rows.write_text("".join(f'{{"n": {n}}}\n' for n in reversed(range(11))))
    assert batch(rows, out, model, resume=True).total == 11
    assert len(model.prompts) == 1
    with pytest.raises(TaskError, match="--resume goes on"):
        batch(rows, out)


def test_results_of_something_else_are_refused(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(rows, out)
    other = Task.parse("name: t\ninputs: {n: {type: int}}\nsteps:\n  - {id: a, prompt: 'N={{ inputs.n }}'}\n")
    with pytest.raises(TaskError, match=r"holds results of something else \(digest was"):
        batch(rows, out, task=other, resume=True)
    with pytest.raises(TaskError, match="model was 'function', now 'scripted'"):
        batch(rows, out, ScriptedModel([]), resume=True)
    (out / "manifest.json").write_text("{")
    with pytest.raises(TaskError, match="cannot be read"):
        batch(rows, out, resume=True)
    (out / "manifest.json").unlink()
    with pytest.raises(TaskError, match=r"no manifest\.json"):
        batch(rows, out, resume=True)


@pytest.mark.parametrize("cut", [1, 100, -1])
def test_half_a_line_at_the_end_is_done_again(rows: Path, tmp_path: Path, cut: int) -> None:
    out = tmp_path / "out"
    batch(rows, out)
    path = out / "results.jsonl"
    whole = path.read_bytes()
    start = whole.rstrip(b"\n").rfind(b"\n") + 1
    path.write_bytes(whole[: start + cut] if cut > 0 else whole[:-1])
    model = FunctionModel(echo)
    result = batch(rows, out, model, resume=True)
    assert (result.missing, result.ignored_lines, len(model.prompts)) == (0, 0, 1)
    assert len(lines(out)) == 10


def test_damage_in_the_middle_costs_one_row(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(rows, out)
    path = out / "results.jsonl"
    all_lines = path.read_bytes().splitlines(keepends=True)
    all_lines[3] = b"\x00" * 50 + b"\n"
    path.write_bytes(b"".join(all_lines))
    model = FunctionModel(echo)
    result = batch(rows, out, model, resume=True)
    assert (result.missing, result.ignored_lines, len(model.prompts)) == (0, 1, 1)


def test_errors_are_tried_again_when_asked(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = batch(rows, out, ScriptedModel(["1<|eot_id|>"] * 4))
    assert result.statuses == {"ok": 4, "error": 6}
    model = ScriptedModel(["1<|eot_id|>"] * 6)
    assert batch(rows, out, model, resume=True).statuses == {"ok": 4, "error": 6}
    assert batch(rows, out, model, resume=True, retry_errors=True).statuses == {"ok": 10}


def test_stopping_keeps_what_is_done(rows: Path, tmp_path: Path) -> None:
    token = CancellationToken()

    def answer(prompt: str) -> str:
        if "n=5" in prompt:
            token.cancel()
        return echo(prompt)

    out = tmp_path / "out"
    result = batch(rows, out, FunctionModel(answer), cancel=token)
    assert result.missing == 5
    assert "5 not run" in (out / "report.html").read_text()
    assert batch(rows, out, resume=True).missing == 0


PROGRAM = """
import asyncio, sys
from pathlib import Path
from arriero import FunctionModel
from arriero.agent.tasks import Task
from arriero.agent.tasks.batch import run_batch

async def answer(prompt):
    await asyncio.sleep(0.02)
    return "1<|eot_id|>"

task = Task.parse("name: t\\ninputs: {n: {type: int}}\\nsteps:\\n  - {id: a, prompt: 'n={{ inputs.n }}'}\\n")
out, rows = Path(sys.argv[1]), Path(sys.argv[2])
result = asyncio.run(run_batch(task, rows, out, FunctionModel(answer), jobs=3, resume=True))
print(result.missing)
"""


def test_killed_three_times_every_row_is_there_once(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text("".join(f'{{"n": {n}}}\n' for n in range(60)))
    program = [sys.executable, "-c", PROGRAM, str(out), str(rows)]
    results = out / "results.jsonl"
    for part in (5, 20, 35):
        with subprocess.Popen(program, stdout=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 60
            while not results.exists() or results.read_bytes().count(b"\n") < part:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.005)
            os.kill(process.pid, signal.SIGKILL)
    done = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "0", done.stderr
    assert sorted(line["result"]["inputs"]["n"] for line in lines(out)) == list(range(60))


def test_a_full_disk_ends_the_batch_and_leaves_whole_lines(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(rows, tmp_path / "first")
    whole = (tmp_path / "first" / "results.jsonl").stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole // 2, before[1]))
    try:
        with pytest.raises(TaskError, match=r"results\.jsonl cannot be written: .*--resume does the rest"):
            batch(rows, out, jobs=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert 0 < len(lines(out)) < 10
    assert (out / "results.jsonl").read_bytes().endswith(b"\n")
    assert batch(rows, out, resume=True).missing == 0
    assert len(lines(out)) == 10


def test_two_processes_do_not_write_to_one_folder(rows: Path, tmp_path: Path) -> None:
    records = Records(tmp_path / "out")
    with records.held(), pytest.raises(TaskError, match="another process"):
        batch(rows, tmp_path / "out")


class Drawing(Tool):
    """Answers with a picture."""

    spec = ToolSpec(name="draw", description="Draw.")

    async def run(self, arguments: dict[str, Any], context: Any) -> ToolResult:
        png = b"\x89PNG\r\n\x1a\n" + bytes(10)
        return ToolResult(
            "<img src=x>", (Artifact("figure-1.png", "image/png", png), Artifact("../up", "x/y", b"1"))
        )


def test_the_report_shows_everything_and_runs_nothing(tmp_path: Path) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text('{"id": "<script>alert(1)</script>", "x": "\\u0000<b>"}\n')
    task = Task.parse(
        "name: t\ninputs: {x: {}}\ntools: [draw]\n"
        "steps:\n  - {id: a, prompt: 'p {{ inputs.x }}', check: [{contains: zzz}]}\n"
    )
    call = '{"name": "draw", "parameters": {}}<|eom_id|>'
    batch(
        rows,
        out,
        ScriptedModel([call, "<script>alert(2)</script>\x0b<|eot_id|>"]),
        task,
        tools={"draw": Drawing()},
    )
    page = (out / "report.html").read_text()
    assert "<script" not in page
    assert "<b>" not in page.replace("<b>a</b>", "")
    assert "&lt;script&gt;alert(2)" in page
    assert 'src="data:image/png;base64,' in page
    assert "does not contain zzz" in page
    assert re.search(r'(src|href)="(?!data:)', page) is None
    assert "<svg" in page
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert not (tmp_path / "up").exists()
    (case,) = ElementTree.fromstring((out / "junit.xml").read_text())
    failure = case.find("failure")
    assert failure is not None
    assert "does not contain zzz" in str(failure.get("message"))


def test_a_report_of_many_rows_has_several_pages(rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    batch(rows, out)
    (out / "report-9.html").touch()  # of an earlier, longer one
    records = Records(out)
    write_html(TASK, records, list(records.done().values()), 0, page_rows=4)
    pages = [out / name for name in ("report.html", "report-2.html", "report-3.html")]
    assert sorted(out.glob("report*.html")) == sorted(pages)
    texts = [page.read_text() for page in pages]
    assert [text.count('<details class="row"') for text in texts] == [4, 4, 2]
    assert all("9 ok" in re.sub(r"<[^>]+>", "", text) for text in texts)
    (failed,) = re.findall(r'<details class="row" data-status="failed" id="(\w+)"', texts[2])
    assert f'href="report-3.html#{failed}"' in texts[0]
    linked = set(re.findall(r'href="([^"#]+)', "".join(texts)))
    assert linked == {page.name for page in pages}


def test_a_browser_shows_the_report_without_a_server_or_complaints(rows: Path, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no Chromium here")
    batch(rows, tmp_path / "out")
    page = (tmp_path / "out" / "report.html").as_uri()
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom"]
    shown = subprocess.run([browser, *options, page], capture_output=True, text=True, timeout=120)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count('<details class="row"') == 10
    assert "<svg" in shown.stdout
    assert not re.search(r"CONSOLE|Refused to|ERR_", shown.stderr)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.jsonl", '{"n": 1}\n{"n": \n', "r.jsonl:2: not JSON"),
        ("r.jsonl", "[1]\n", "row 1: a row is an object"),
        ("r.jsonl", "3\n", "r.jsonl:1: a row is an object"),
        ("r.jsonl", "\n\n", "there are no rows"),
        ("r.jsonl", '{"id": 1}\n{"id": 1}\n', "row 2: another row has the id 1"),
        ("r.csv", "n,m\n1\n", "row 1 has more or fewer fields"),
        ("r.csv", 'n\n"1\n', "not CSV"),
    ],
)
def test_rows_that_are_wrong(tmp_path: Path, name: str, text: str, said: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TaskError, match=re.escape(said)):
        read_rows(path, {"n"}, "salt")


def test_forms_of_rows(tmp_path: Path) -> None:
    forms = {
        "a.jsonl": '\ufeff{"n": 1}\r\n\r\n{"n": 1}\r\n',
        "b.json": ' [{"n": 1}, {"n": 1}]',
        "c.csv": "n\n1\n1\n",
    }
    for name, text in forms.items():
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", newline="")
        first, second = read_rows(path, {"n"}, "salt")
        assert first.key != second.key
        assert str(first.inputs["n"]) == "1"
    with pytest.raises(TaskError, match="No such file"):
        read_rows(tmp_path / "none", set(), "")


def test_a_row_with_bad_inputs_is_a_result_of_its_own(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("n\n1\nx\n2\n")
    result = batch(rows, tmp_path / "out")
    assert result.statuses == {"ok": 2, "error": 1}
    assert "'n' must be a whole number" in (tmp_path / "out" / "report.html").read_text().replace(
        "&#39;", "'"
    )
