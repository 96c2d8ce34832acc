"""Names: of stages, inputs and fields, in both languages, and of nodes with bound values."""

from dataclasses import dataclass

from towpath import stage


@dataclass(frozen=True)
class HTTPServer:
    server_url: str
    html_page: str
    ids: list[int]
    x2: int
    from_: str


@stage(name="serve_v2")
def serve(
    server: HTTPServer = HTTPServer("", "", [], 0, ""), user_id: str = "", os_name: str = "", python3_version: str = ""
) -> HTTPServer:
    return server


@stage
def bound(
    text: str = "", number: float = 0, flag: bool = False, none: int | None = None, items: list[str] = []
) -> None:
    return None


BOUND = [
    bound.bind(text="a/b:c@1.0+x-y_z", number=1),
    bound.bind(number=0.1, text="two words"),
    bound.bind(text="", flag=True),
    bound.bind(none=3, flag=False),
    bound.bind(none=None, items=["a", 'b"']),
    bound.bind(text="d\u00e9j\u00e0,x]"),
    bound.bind(number=1e-9, items=[]),
]
