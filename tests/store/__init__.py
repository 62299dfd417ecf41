"""The journal on a real disk: killed, torn, full, slow."""
