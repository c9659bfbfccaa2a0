"""What all tests share: a cache of their own, so that no result kept elsewhere answers for the code under test.

And Ctrl-C, which a shell has those ignore that it starts behind: sessions that are sent SIGINT inherit it from here.
"""

from __future__ import annotations

import signal

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

collect_ignore_glob = ["*/samples/*"]
"""Scenarios that tests hand to drivers: what they expect is said for those, and no search is asked for it."""


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
