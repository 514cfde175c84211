"""Run a file of escape probes against the real Python tool, from outside, and count what got out.

    python tests/sandbox/check.py PROBES [--as-user NAME] [--level bubblewrap|landlock] [--only ID,ID] [--json
    FILE]

PROBES is a script that takes ``--backend FILE.py:factory`` and ``--json OUT`` and writes the verdict on each
of its probes. Prints, per class, how many escaped, were contained, or are broken (could not be judged), and
exits with 1 unless none escaped and none is broken. ``--as-user`` needs root; what that user cannot read
(this tree, the interpreter) is copied to a directory of its own first, and removed afterwards. The probes
need some 5 GiB of memory and about five minutes.
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
PACKAGES = ("tools", "prompts", "src")
UNJUDGED = ("harness saw", "restart failed", "caller raised")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("probes", type=Path)
    parser.add_argument("--as-user", metavar="NAME")
    parser.add_argument("--level", choices=["auto", "bubblewrap", "landlock"], default="auto")
    parser.add_argument("--only", metavar="IDS", help="comma-separated probe ids")
    parser.add_argument("--json", type=Path, help="also write the verdicts here")
    arguments = parser.parse_args()
    if arguments.as_user:
        with tempfile.TemporaryDirectory(prefix="arriero-check-", ignore_cleanup_errors=True) as directory:
            return run_as(arguments, pwd.getpwnam(arguments.as_user), Path(directory))
    with tempfile.TemporaryDirectory(prefix="arriero-check-") as directory:
        return run(arguments, Path(sys.executable), ROOT, arguments.probes.resolve(), Path(directory), [])


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
    shutil.copy(ADAPTER, tree / "tests/sandbox")
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
        f"PYTHONPATH={tree / 'src'}",
        str(python),
        str(probes),
    ]
    command += ["--backend", f"{tree / 'tests/sandbox/adapter.py'}:factory", "--json", str(verdicts)]
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
    print(f"{found['backend']}\n{'class':12} {'escaped':>8} {'contained':>10} {'broken':>8}")
    for kind, counts in table.items():
        total += counts
        print(f"{kind:12} {counts['escaped']:8} {counts['contained']:10} {counts['broken']:8}")
    print(f"{'total':12} {total['escaped']:8} {total['contained']:10} {total['broken']:8}")
    for name, _, verdict, why in rows:
        if judge(verdict, str(why)) != "contained":
            print(f"  {judge(verdict, str(why))}: {name}: {why}")
    return 0 if rows and not total["escaped"] and not total["broken"] else 1


def judge(verdict: str, why: str) -> str:
    """One of escaped, contained and broken."""
    if verdict == "CONTAINED":
        return "contained"
    return "escaped" if verdict == "ESCAPED" and not why.startswith(UNJUDGED) else "broken"


if __name__ == "__main__":
    sys.exit(main())
