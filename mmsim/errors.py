"""The one exception for mistakes of the user: a sentence that says what, where, and what to do about it."""


class UserError(Exception):
    """Printed as one line on standard error; the exit status is 2."""

    def _render_traceback_(self) -> list[str]:
        """In a notebook: the sentence, without a stack trace.  IPython asks for this."""
        return [f"mmsim: {self}"]
