"""Descriptions, of which the plan keeps the first paragraph."""

from towpath import effect, stage


@stage
def none() -> None:
    return None


@stage
def short() -> None:
    """Do it."""


@stage
def long(name: str = "x") -> None:
    """
    Build the   wheel,
    with\ttabs and \u201cquotes\u201d and "these".

    This is not in the plan.
    """


@effect
def publish() -> None:
    """Publish <all> & sundry \U0001f600.
    \x20
    Nor this."""
