"""Results kept between runs: one file for each test, which says in full what it is an answer to.

A file is named after its test (scenario, strategy, release and how to answer), so that a newer answer takes the place
of the older one, and holds the key of what was asked: a digest of every text that the answer depends on.  Another key
is another question, and its answer is not used; all that is still believed of it is how long it took.

Nothing in a file is trusted.  One that is no JSON, of another format, of another test or whose checksum does not fit
counts as damaged: it is ignored, told of, and written anew once there is an answer.  Writing replaces the whole file at
once, so any number of processes may share a folder; the last one wins, and each of them was right.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, Final

import attrs

from mmsim.errors import UserError

FORMAT: Final = 1


@attrs.frozen
class Kept:
    """What a file says: the answer if it is to the question asked, and how long the last answer took."""

    answer: dict[str, Any] | None = None
    seconds: float | None = None
    damaged: bool = False


@attrs.frozen
class Store:
    """A folder of results."""

    folder: Path

    def path(self, test: str) -> Path:
        """Where the result of a test is."""
        return self.folder / f"{hashlib.sha256(test.encode()).hexdigest()[:32]}.json"

    def get(self, test: str, key: str) -> Kept:
        """What is known of a test; the answer only if it was to the question with this key."""
        try:
            text = self.path(test).read_text(encoding="utf-8")
        except FileNotFoundError:
            return Kept()
        except (OSError, UnicodeDecodeError):
            return Kept(damaged=True)
        try:
            found = json.loads(text)
            whole = found["checksum"] == checksum(found) and found["format"] == FORMAT and found["test"] == test
            if not whole:
                return Kept(damaged=True)
            return Kept(found["answer"] if found["key"] == key else None, float(found["seconds"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return Kept(damaged=True)

    def put(self, test: str, key: str, answer: dict[str, Any], seconds: float) -> None:
        """Keep an answer in place of whatever was kept of that test.  Raises UserError."""
        content = {"format": FORMAT, "test": test, "key": key, "answer": answer, "seconds": seconds}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=self.folder, prefix=".", suffix=".new", delete=False, encoding="utf-8"
            ) as file:
                json.dump({**content, "checksum": checksum(content)}, file)
            Path(file.name).replace(self.path(test))
        except OSError as error:
            msg = f"results cannot be kept in {self.folder}: {error.strerror}; say with --store where else"
            raise UserError(msg) from None


def checksum(content: dict[str, Any]) -> str:
    """Of all that a file says but the checksum itself."""
    rest = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
