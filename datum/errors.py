"""The two kinds of failure that are not defects of ours, and the exit status of each."""

from __future__ import annotations


class InputError(Exception):
    """The user's input is wrong: exit status 2.

    The message is one line that names the file or the setting, what was found, what was expected and
    the remedy. It is raised before anything is written.
    """


class TemporaryFaultError(Exception):
    """A fault that may pass (a store out of reach, a preempted machine): exit status 75 (EX_TEMPFAIL).

    State is saved, so that running the same command again resumes.
    """
