"""Run a file of escape probes against the real Python tool, from outside, and count what got out.

    python tests/sandbox/check.py PROBES [--as-user NAME] [--level bubblewrap|landlock] [--only ID,ID]
        [--classes NAME,NAME] [--against plain|smolagents] [--json FILE]

PROBES is a script that takes ``--backend FILE.py:factory`` and ``--json OUT`` and writes the verdict on each
of its probes. Prints, per class, how many escaped, were contained, skipped, or are broken (could not be judged),
and exits with 1 unless none escaped and none is broken. ``--as-user`` needs root; what that user cannot read
(this tree, the interpreter) is copied to a directory of its own first, and removed afterwards. The probes
need some 5 GiB of memory and about five minutes.

``--against`` runs them against something else, for comparison: a kernel without a sandbox, or smolagents'
executor. That really does to this machine what the probes try, so it needs ``--as-user`` and leaves out those
that exhaust a machine or end its processes.
"""

import argparse
import json
import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ADAPTER = Path(__file__).with_name("adapter.py")
OTHERS = Path(__file__).with_name("others.py")
PACKAGES = ("tools", "prompts", "src")
HARMLESS = ("egress", "files", "host-read", "host-write", "privilege", "protocol")
UNJUDGED = ("harness saw", "restart failed", "caller raised")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("probes", type=Path)
    parser.add_argument("--as-user", metavar="NAME")
    parser.add_argument("--level", choices=["auto", "bubblewrap", "landlock"], default="auto")
    parser.add_argument("--only", metavar="IDS", help="comma-separated probe ids")
    parser.add_argument("--classes", metavar="NAMES", help="comma-separated classes of probes")
    parser.add_argument("--against", choices=["plain", "smolagents"])
    parser.add_argument("--json", type=Path, help="also write the verdicts here")
    arguments = parser.parse_args()
    if arguments.against and not arguments.as_user:
        parser.error("--against runs the probes without walls: name a user that owns nothing with --as-user")
    if arguments.against and not arguments.classes:
        arguments.classes = ",".join(HARMLESS)
    if arguments.classes:
        arguments.only = ",".join(ids_of(arguments.probes, arguments.classes.split(",")))
    if arguments.as_user:
        with tempfile.TemporaryDirectory(prefix="arriero-check-", ignore_cleanup_errors=True) as directory:
            return run_as(arguments, pwd.getpwnam(arguments.as_user), Path(directory))
    with tempfile.TemporaryDirectory(prefix="arriero-check-") as directory:
        return run(arguments, Path(sys.executable), ROOT, arguments.probes.resolve(), Path(directory), [])


def ids_of(probes: Path, classes: list[str]) -> list[str]:
    """The probes of some classes, as the script lists them: id, class, what would be an escape."""
    command = [sys.executable, str(probes), "--backend", "none", "--list"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in shown.splitlines() if line.split()[1] in classes]


def run_as(arguments: argparse.Namespace, user: pwd.struct_passwd, directory: Path) -> int:
    """Copy what the user needs and run there as that user."""
    if os.geteuid() != 0:
        raise SystemExit("--as-user needs root")
    directory.chmod(0o755)
    tree = directory / "tree"
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tree / package, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    (tree / "tests/sandbox").mkdir(parents=True)
    for adapter in (ADAPTER, OTHERS):
        shutil.copy(adapter, tree / "tests/sandbox")
    probes = Path(shutil.copy(arguments.probes, directory / "probes.py"))
    output = directory / "out"
    output.mkdir()
    os.chown(output, user.pw_uid, user.pw_gid)
    python = copy_interpreter(directory / "python")
    prefix = [
        "setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--inh-caps=-all",
        "env", "-i", f"HOME={user.pw_dir}", f"USER={user.pw_name}", "PATH=/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE=1",
    ]  # fmt: skip
    return run(arguments, python, tree, probes, output, prefix)


def copy_interpreter(target: Path) -> Path:
    """An interpreter with this environment's packages that everyone can read.

    The system's Python where it is of the same version, else a copy of this one: that works only where it does not
    look for its own library in a place that the user cannot read.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    system = shutil.which(version, path="/usr/bin:/usr/local/bin")
    if system:
        subprocess.run([system, "-m", "venv", "--without-pip", str(target)], check=True)
    else:
        skip = shutil.ignore_patterns("__pycache__", "test", "*.a", "site-packages", "share", "include")
        shutil.copytree(sys.base_prefix, target, symlinks=True, ignore=skip)
    heavy = shutil.ignore_patterns(
        "__pycache__", "torch*", "nvidia*", "llama_cpp*", "*.gguf", "*editable*", "arriero*", "mypy*", "tests"
    )
    packages = target / "lib" / version / "site-packages"
    shutil.copytree(sysconfig.get_path("purelib"), packages, ignore=heavy, dirs_exist_ok=True)
    return target / "bin" / version


def run(
    arguments: argparse.Namespace, python: Path, tree: Path, probes: Path, output: Path, prefix: list[str]
) -> int:
    """Run the probes in a process of their own and report; returns the exit status."""
    verdicts = output / "verdicts.json"
    command = [*prefix] or ["env"]
    command += [
        f"ARRIERO_CHECK_LEVEL={arguments.level}",
        f"PYTHONPATH={tree / 'src'}{os.pathsep}{tree / 'tests/sandbox'}",
        str(python),
        str(probes),
    ]
    where = f"others.py:{arguments.against}" if arguments.against else "adapter.py:factory"
    command += ["--backend", f"{tree / 'tests/sandbox'}/{where}", "--json", str(verdicts)]
    if arguments.only:
        command += ["--only", arguments.only]
    ended = subprocess.run(command, cwd=output, check=False)
    if not verdicts.exists():
        print(f"the probes ended with status {ended.returncode} and left no verdicts", file=sys.stderr)
        return 2
    found = json.loads(verdicts.read_text())
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))
    return report(found)


def report(found: dict[str, object]) -> int:
    """Print the table; returns 0 when nothing escaped and everything was judged."""
    rows = found["all"]
    assert isinstance(rows, list)
    table: dict[str, Counter[str]] = defaultdict(Counter)
    for _, kind, verdict, why in rows:
        table[kind][judge(verdict, str(why))] += 1
    total: Counter[str] = Counter()
    columns = ("escaped", "contained", "skipped", "broken")
    print(f"{found['backend']}\n{'class':12}" + "".join(f"{name:>10}" for name in columns))
    for kind, counts in table.items():
        total += counts
        print(f"{kind:12}" + "".join(f"{counts[name]:10}" for name in columns))
    print(f"{'total':12}" + "".join(f"{total[name]:10}" for name in columns))
    for name, _, verdict, why in rows:
        if judge(verdict, str(why)) in ("escaped", "broken"):
            print(f"  {judge(verdict, str(why))}: {name}: {why}")
    return 0 if rows and not total["escaped"] and not total["broken"] else 1


def judge(verdict: str, why: str) -> str:
    """One of escaped, contained, skipped and broken."""
    if verdict in ("CONTAINED", "SKIP"):
        return "contained" if verdict == "CONTAINED" else "skipped"
    return "escaped" if verdict == "ESCAPED" and not why.startswith(UNJUDGED) else "broken"


if __name__ == "__main__":
    sys.exit(main())
