"""Effects and stages with every policy."""

from towpath import File, effect, out, param, stage


@stage(retry=2, timeout="10m")
def build() -> File:
    raise NotImplementedError


@stage(timeout="1500ms")
def check(binary: File = out(build)) -> bool:
    raise NotImplementedError


@effect(idempotent=True, retry=3, timeout="1h30m")
def upload(binary: File = out(build), bucket: str = param("nightly")) -> str:
    raise NotImplementedError


@effect(after=[upload, check])
def deploy(place: str = out(upload)) -> None:
    raise NotImplementedError


@effect
def page(text: str = "done") -> None:
    raise NotImplementedError
