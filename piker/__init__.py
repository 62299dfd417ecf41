"""piker: a trading desk on one Linux machine, as daemons that systemd runs."""

__version__ = "0.1.0"
