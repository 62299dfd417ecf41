"""Arguments that commands share."""

import argparse
import re

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def parser(command: str, doc: str) -> argparse.ArgumentParser:
    """A parser for one command."""
    return argparse.ArgumentParser(prog=f"piker {command}", description=doc)


def span(text: str) -> float:
    """A span of time, as 5s, 200ms, 2min or 1h; seconds without a unit."""
    matched = _SPAN.fullmatch(text.strip())
    if not matched or not float(matched[1]):
        raise argparse.ArgumentTypeError(f"expected a time such as 5s or 2min, was {text!r}")
    return float(matched[1]) * _SECONDS[matched[2] or "s"]


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, was {text!r}")
    return int(text)


def rate(text: str) -> float:
    """Times a second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1000:
        raise argparse.ArgumentTypeError(f"expected a rate above 0 and up to 1000, was {text!r}")
    return value
