"""pikerd's parts: units that live, and the processes, sockets and descriptors they need."""
