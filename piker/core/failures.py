"""Why a unit of systemd's ended, in words: from what its manager says of it.

Sources: systemd.exec(5), "Process Exit Codes"; systemd.service(5), $SERVICE_RESULT; sd_bus's
org.freedesktop.systemd1.Service and .Socket, Result.
"""

from signal import Signals

RESULTS = {
    "protocol": "it ended, or went on, without saying that it was ready",
    "timeout": "it did not start or stop in time",
    "watchdog": "it hung: no sign of life for longer than its WatchdogSec=",
    "oom-kill": "it was killed, since memory had run out",
    "resources": "systemd could not set it up",
    "start-limit-hit": "it was started too often",
    "service-start-limit-hit": "its service was started too often",
    "trigger-limit-hit": "connections started its service too often, and it did not stay",
}
STEPS = {
    200: ("CHDIR", "its directory can't be entered"),
    203: ("EXEC", "its program can't be run"),
    217: ("USER", "its user is missing, or user namespaces are switched off"),
    218: ("CAPABILITIES", "its sandbox can't be set up; are user namespaces switched off?"),
    226: ("NAMESPACE", "its sandbox can't be set up; are user namespaces switched off?"),
    238: ("STATE_DIRECTORY", "its state directory can't be made or is another user's"),
    243: ("CREDENTIALS", "a credential can't be read or decrypted by the manager"),
}
"""What systemd could not do before it ran the program, by exit status."""
EXITED, KILLED, DUMPED = 1, 2, 3
"""How a process ended: sigaction(2), CLD_EXITED and its like."""


def why(result: str, code: int = 0, status: int = 0, said: str = "") -> str:
    """A unit's last failure in words; nothing if there was none.

    `code` and `status` are those of its main process, `said` is the line that it last gave of
    itself.
    """
    if result in ("", "success", "exec-condition"):
        return ""
    words = _of_the_process(code, status) if result in ("exit-code", "signal", "core-dump") else ""
    told = words or RESULTS.get(result, result)
    return f"{told}; it said: {said}" if said else told


def _of_the_process(code: int, status: int) -> str:
    if code in (KILLED, DUMPED):
        ended = "crashed with" if code == DUMPED else "was killed by"
        return f"it {ended} {_signal(status)}"
    if code != EXITED or not status:
        return ""
    step, reason = STEPS.get(status, ("", ""))
    return f"exit status {status}/{step}: {reason}" if step else f"it ended with status {status}"


def _signal(number: int) -> str:
    return Signals(number).name if number in set(Signals) else f"signal {number}"
