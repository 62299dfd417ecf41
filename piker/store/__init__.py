"""emsd's state on disk: the journal and ledger in SQLite, the halt, and the mark that it is needed."""
