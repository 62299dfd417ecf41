"""Tours of clients that aren't ours, each run by the Python of that client's environment."""
