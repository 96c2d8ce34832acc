"""Secrets as inputs, and their handles as outputs."""

from towpath import Secret, effect, out, secret, stage


@stage
def login(token: Secret = secret("REGISTRY_TOKEN"), backup: Secret | None = None) -> Secret:
    return token


@effect
def push(
    token: Secret = out(login),
    signing: Secret = secret("signing/key.v2"),
    maybe: Secret | None = secret("MAYBE"),
) -> None:
    raise NotImplementedError
