"""The libraries that data work is done with, each where it is installed: real results, not only an import."""

from collections.abc import Iterator

import pytest
from kernel import Kernel, needs

from arriero.tools.python import SandboxLimits

# Module to look for, the code, and what it has to print.
WORK: dict[str, tuple[str, str, str]] = {
    "numpy": (
        "numpy",
        "import numpy as np\na = np.arange(4_000_000.0).reshape(2000, 2000)\n"
        "print((a @ a.T).shape, round(np.linalg.norm(np.fft.ifft(np.fft.fft(a[0])).real - a[0]), 6))",
        "(2000, 2000) 0.0",
    ),
    "pandas": (
        "pandas",
        "import pandas as pd\npd.DataFrame({'k': list('abab'), 'v': [1, 2, 3, 4]}).to_csv('t.csv', index=False)\n"
        "print(pd.read_csv('t.csv').groupby('k').v.sum().to_dict())",
        "{'a': 4, 'b': 6}",
    ),
    "scipy": (
        "scipy",
        "from scipy import integrate, optimize, stats\n"
        "area, root = integrate.quad(lambda x: x * x, 0, 3)[0], optimize.brentq(lambda x: x**2 - 2, 0, 2)\n"
        "print(round(area, 6), round(root, 5), round(stats.norm.cdf(1.96), 3))",
        "9.0 1.41421 0.975",
    ),
    "sympy": (
        "sympy",
        "import sympy as s\nx = s.symbols('x')\nprint(s.integrate(s.sin(x) ** 2, x), s.solve(x**2 - 5 * x + 6, x))",
        "x/2 - sin(x)*cos(x)/2 [2, 3]",
    ),
    "scikit-learn": (
        "sklearn",
        "from sklearn.datasets import load_iris\nfrom sklearn.ensemble import RandomForestClassifier\n"
        "from sklearn.model_selection import cross_val_score\nx, y = load_iris(return_X_y=True)\n"
        "print(cross_val_score(RandomForestClassifier(20, random_state=0), x, y, cv=3).mean() > 0.9)",
        "True",
    ),
    "matplotlib file": (
        "matplotlib",
        "import matplotlib.pyplot as plt, os\nf = plt.figure(); plt.plot([1, 2]); f.savefig('p.pdf'); plt.close(f)\n"
        "print(os.path.getsize('p.pdf') > 1000)",
        "True",
    ),
}


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def kernel(request: pytest.FixtureRequest) -> Iterator[Kernel]:
    """One with the limits that users have, but for the times: all of the libraries come to be loaded in it."""
    needs(request.param)
    made = Kernel(request.param, limits=SandboxLimits(wall_s=240, start_s=120))
    yield made
    made.close()


def needs_module(kernel: Kernel, name: str) -> None:
    found = kernel.run(f"import importlib.util; print(importlib.util.find_spec({name!r}) is not None)")
    if found.stdout != "True":
        pytest.skip(f"{name} is not installed where the code runs; see ARRIERO_PYTHON in docs/sandbox.md")


@pytest.mark.parametrize("name", WORK)
def test_libraries(kernel: Kernel, name: str) -> None:
    module, code, expected = WORK[name]
    needs_module(kernel, module)
    done = kernel.run(code)
    assert done.stdout == expected, done


def test_plots_come_as_images(kernel: Kernel) -> None:
    needs_module(kernel, "matplotlib")
    done = kernel.run("import matplotlib.pyplot as plt\nfor n in (1, 2):\n    plt.plot([1, n]); plt.show()")
    assert [image.mime for image in done.images] == ["image/png"] * 2, done


def test_arrays_up_to_the_limit(kernel: Kernel) -> None:
    needs_module(kernel, "numpy")
    done = kernel.run(
        "import numpy as np\nfits = np.ones(600 << 17); print(fits.nbytes >> 20, int(fits.sum()) == fits.size)\n"
        "del fits\nnp.ones(4000 << 17)"
    )
    assert done.stdout == "600 True"
    assert "MemoryError" in done.stderr
    assert not done.state_lost
