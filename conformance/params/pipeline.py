"""Parameters of every type, with and without a default, a variable and a description."""

from towpath import effect, param, stage

CHANNEL: str = param("beta", name="release_channel", doc="Where the\n   release goes.")


@stage
def build(
    name: str = param(),
    jobs: int = param(4, env="BUILD_JOBS"),
    ratio: float = param(1, doc="How much of it."),
    debug: bool = param(False, env="BUILD_DEBUG", doc="Keep symbols."),
    limit: float = param(),
    count: int = param(),
    force: bool = param(),
    channel: str = CHANNEL,
) -> str:
    raise NotImplementedError


@effect
def publish(index: str = param("", env="PUBLISH_INDEX"), channel: str = CHANNEL, big: int = param(9007199254740993)) -> None:
    raise NotImplementedError
