"""Becomes the given command after two promises: run as that account, and die when the parent dies.

    python child.py PARENT_PID SIGNAL ACCOUNT COMMAND...        ACCOUNT is `-` for the caller's own

It stands between a part of the stack and its supervisor because doing the same between fork and exec
is unsafe in a process with threads. The order matters: a change of account clears the death signal.
"""

import ctypes
import os
import pwd
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, account: str, command: list[str]) -> None:
    if account != "-":
        become(account)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
    if os.getppid() != parent:  # it died before it could be watched
        sys.exit("The supervisor has gone.")
    for ignored in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):  # a background shell's children start deaf
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execv(command[0], command)  # noqa: S606
    except OSError as error:
        sys.exit(f"Cannot run {command[0]}: {error.strerror}")


def become(account: str) -> None:
    entry = pwd.getpwnam(account)
    os.chdir("/")
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
