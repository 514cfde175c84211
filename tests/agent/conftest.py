"""What tests of the agent share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from arriero.agent.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()
