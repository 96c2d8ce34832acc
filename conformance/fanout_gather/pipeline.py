"""Fanning out over what was gathered and over a list that is known."""

from towpath import File, each, gather, stage


@stage
def build(os: str) -> File:
    raise NotImplementedError


@stage
def sign(binary: File = each(gather([build.bind(os="linux"), build.bind(os="darwin")]))) -> File:
    raise NotImplementedError


@stage
def verify(binary: File = each(gather(sign))) -> bool:
    raise NotImplementedError


@stage
def probe(ratio: float = each([1, 0.5, 2.0]), name: str = "a") -> list[float]:
    raise NotImplementedError


@stage
def done(
    verified: list[bool] = gather(verify), probes: list[list[float]] = gather(probe), none: list[str] = gather([])
) -> None:
    raise NotImplementedError
