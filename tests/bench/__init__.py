"""Benchmarks: ratios to a peer in the same run. `make bench`, or one with `make bench ONLY=fanout`.

A result is a line of JSON on standard output; `ratio` above 1 is better than the peer.
"""
