"""The `piker` command as people and programs use it: processes in a place of their own."""
