"""What runs in the virtual machine: it finds out, and decides nothing; test_vm.py does.

With the means of tests/system, as root, by piker's own Python. A fact is a line of JSON.
"""
