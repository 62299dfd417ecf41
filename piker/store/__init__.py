"""What daemons keep on disk: emsd's journal and ledger, and the latch that halts all."""
