"""Logs of strace, replayed in the model one system call at a time: every answer must be the one that Linux gave."""
