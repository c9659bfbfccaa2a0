"""What all tests share: a cache of their own, so that no result kept elsewhere answers for the code under test."""

from __future__ import annotations

import pytest

collect_ignore_glob = ["*/samples/*"]
"""Scenarios that tests hand to drivers: what they expect is said for those, and no search is asked for it."""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
