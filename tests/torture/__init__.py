"""Orders under fire: the suite under pikerd, a simulated venue, and kill -9 again and again."""
