"""A gateway of Interactive Brokers for tests: it speaks the TWS text protocol, versions 157 to 178.

In process, on virtual time if the test wants that::

    async with a_gateway(Settings(our_clients=frozenset({7}))) as gateway:
        ...  # connect to gateway.address: tcp:127.0.0.1:PORT, or unix:PATH if a path was given
        await gateway.do(Move(market="AAPL", price=Decimal("191")))   # actions.py: what happens
        gateway.faults.set(Delay(request="ReqPositions", seconds=5))  # faults.py: what goes wrong
        assert gateway.heard[-1].request == ReqCurrentTime()          # requests.py: what was asked

As a process of its own, with the same actions::

    async with a_gateway_process(directory, Settings(walk_s=0.1, state=str(file))) as gateway:
        await gateway.do(SetFault(fault=ClientIdInUse(times=1)))
        await gateway.kill()                                      # and start() again

By hand: ``python -m tests.fakes.gateway --listen tcp:127.0.0.1:4002``.

Both fail the test with an AssertionError if a client broke a rule of the protocol or of pacing
(`gateway.breaches`). Markets stand still until a test moves them (`Move`, `Advance`) or `walk_s` is
set; a resting order that its market crosses is filled, at most a `lot` of the contract a move. A
`Stop` and a `Start` are a restart; with `state` the book outlives the process, too. catalog.py has
the contracts, and client.py is a client for tests of this package.
"""

from tests.fakes.gateway.control import Away, Remote, a_gateway_process, a_remote_gateway
from tests.fakes.gateway.gateway import Gateway, Settings
from tests.fakes.gateway.server import Served, a_gateway

__all__ = [
    "Away",
    "Gateway",
    "Remote",
    "Served",
    "Settings",
    "a_gateway",
    "a_gateway_process",
    "a_remote_gateway",
]
