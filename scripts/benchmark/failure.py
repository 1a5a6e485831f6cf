"""What ends the benchmark."""


class Failure(Exception):
    """Something that the person has to mend; its text says what."""
