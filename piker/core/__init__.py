"""Thought, pure: no file here waits, reads, writes or looks at a clock."""
