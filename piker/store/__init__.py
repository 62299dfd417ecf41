"""emsd's state on disk: journal and ledger in SQLite, the halt, the mark that it is needed."""
