"""Why an attack got nowhere, where it is no error of the system's."""


class Stopped(Exception):
    """It was answered, but not with what it wanted."""
