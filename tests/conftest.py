"""What all tests share: how Hypothesis behaves, and `--bless` for transcripts."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a slow or busy machine is no failure. What failed is printed, ready to be repeated.
settings.register_profile(
    "mesh",
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("mesh")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--bless",
        action="store_true",
        default=bool(os.environ.get("MESH_BLESS")),
        help="write tests/scenarios anew instead of comparing; review the difference as prose",
    )


@pytest.fixture
def bless(request: pytest.FixtureRequest) -> bool:
    """Whether transcripts are written instead of compared."""
    return bool(request.config.getoption("--bless"))
