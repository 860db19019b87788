"""Becomes the command it is given, on a leash: when the parent dies, even by SIGKILL, so does the command.

Run as a script, ``leash.py PARENT_PID SIGNAL USER COMMAND...``, by an interpreter without site-packages. A script of
its own rather than a hook between fork and exec, because such a hook may deadlock in a parent that has threads.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1
NO_USER = "-"
PARENT_IS_GONE = 1


def lower_privileges(user: str) -> None:
    """Become `user` for good. Only root can."""
    entry = pwd.getpwnam(user)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = "/"


def tie_to(parent_pid: int, death_signal: int) -> None:
    """Ask the kernel (Linux) to send `death_signal` to this process when its parent dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    # The parent may have died before the kernel was asked: then nobody would ever send the signal.
    if os.getppid() != parent_pid:
        sys.exit(PARENT_IS_GONE)


def main() -> None:
    """Lower privileges first, since a change of user makes the kernel forget the signal; then tie, then become."""
    parent_pid, death_signal, user, *command = sys.argv[1:]
    if user != NO_USER:
        lower_privileges(user)
    if int(death_signal):
        tie_to(int(parent_pid), int(death_signal))
    os.execvpe(command[0], command, os.environ)


if __name__ == "__main__":
    main()
