"""Units that run doctored daemons, for who asks for a doctor."""

from pathlib import Path

import pytest

from tests.torture.weather import Doctor, doctored_units


@pytest.fixture
def doctor(home: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The clock and the feed in the test's hands."""
    return doctored_units(home, monkeypatch)
