"""Whether a market is open, and until when. None for sessions means that it always is."""

from bisect import bisect_right

from piker.markets import Session

Sessions = tuple[Session, ...] | None


def session_at(sessions: Sessions, time_ns: int) -> Session | None:
    """The session that this instant is in, if the market has sessions and it is in one."""
    if not sessions:
        return None
    index = bisect_right(sessions, time_ns, key=lambda session: session.open_ns) - 1
    if index < 0 or time_ns >= sessions[index].close_ns:
        return None
    return sessions[index]


def is_open(sessions: Sessions, time_ns: int) -> bool:
    """Whether the market trades at this instant."""
    return sessions is None or session_at(sessions, time_ns) is not None


def opening(sessions: Sessions, time_ns: int) -> int:
    """When the session that this instant is in began; 0 if the market is always open."""
    session = session_at(sessions, time_ns)
    return session.open_ns if session else 0


def why_closed(sessions: Sessions, time_ns: int) -> str:
    """A line for people about a market that is closed at this instant."""
    later = [session.open_ns for session in sessions or () if session.open_ns > time_ns]
    return f"opens in {(min(later) - time_ns) / 1e9:.0f} s" if later else "out of session"


def continued(older: Sessions, newer: Sessions) -> Sessions:
    """What is known of sessions by what was said before, and what is said now, which counts."""
    if older is None or not newer:
        return newer
    first_ns = newer[0].open_ns
    return (*(session for session in older if session.close_ns <= first_ns), *newer)
