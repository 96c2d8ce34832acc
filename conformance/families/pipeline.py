"""Waiting for families: of bound stages, with and without a member of their own name."""

from towpath import File, effect, gather, out, stage


@stage
def test(shard: int = 0) -> None:
    raise NotImplementedError


@stage
def build(os: str = "linux") -> File:
    raise NotImplementedError


@stage
def bundle(
    native: File = out(build),
    others: list[File] = gather([build.bind(os="windows"), build.bind(os="darwin")]),
    shards: list[None] = gather(test.bind(shard=shard) for shard in range(3)),
) -> File:
    raise NotImplementedError


@effect(after=[test, build])
def publish(bundle: File = out(bundle)) -> None:
    raise NotImplementedError


@effect(after=[test.bind(shard=2), publish, test.bind(shard=2)])
def notify() -> None:
    raise NotImplementedError
