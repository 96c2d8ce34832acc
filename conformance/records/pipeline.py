"""Records inside of lists, maps, optionals and each other."""

from dataclasses import dataclass

from towpath import Directory, File, Secret, TestReport, out, secret, source, stage


@dataclass(frozen=True)
class Tag:
    key: str
    weight: float


@dataclass(frozen=True)
class Empty:
    pass


@dataclass(frozen=True)
class Wheel:
    file: File
    tags: list[Tag]
    by_platform: dict[str, list[File]]
    report: TestReport | None
    note: str | None


@dataclass(frozen=True)
class Release:
    wheels: dict[str, Wheel]
    tree: Directory
    token: Secret
    best: Tag | None
    sizes: list[int | None]
    stable: bool


@stage
def echo(
    tag: Tag = Tag("py3", 1),
    tags: list[Tag] = [Tag("b", 0.5), Tag("a", -0.0)],
    names: dict[str, str | None] = {"z": None, "a b": "<&>"},
    ratio: float | None = 3,
    empty: Empty = Empty(),
    grid: list[list[int]] = [[], [1, 2]],
) -> dict[str, list[Tag]]:
    return {"one": [tag], "many": tags, **{name: [] for name in names}}


@stage
def build(src: Directory = source("src"), token: Secret = secret("TOKEN"), tag: Tag | None = None) -> Wheel:
    raise NotImplementedError


@stage
def release(wheel: Wheel = out(build), token: Secret = secret("TOKEN"), src: Directory = source("src")) -> Release:
    return Release({wheel.file.name: wheel}, src, token, wheel.tags[0], [None, len(wheel.tags)], wheel.report is None)


@stage
def announce(release: Release = out(release)) -> None:
    return None
