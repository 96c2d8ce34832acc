"""Plain values at the edges of what they can be."""

from towpath import stage


@stage
def floats(
    whole: float = 1.0,
    integer: float = 2,
    zero: float = -0.0,
    tenth: float = 0.1,
    large: float = 1e21,
    below: float = 1e20,
    small: float = 1e-7,
    above: float = 0.000001,
    smallest: float = 5e-324,
    largest: float = 1.7976931348623157e308,
    many: list[float] = [1, 2.5, -3],
) -> list[float]:
    return [whole, integer, zero, tenth, large, below, small, above, smallest, largest, *many]


@stage
def ints(zero: int = 0, smallest: int = -(2**63), largest: int = 2**63 - 1, beyond_double: int = 2**53 + 1) -> list[int]:
    return [zero, smallest, largest, beyond_double]


@stage
def strings(
    empty: str = "",
    quotes: str = 'say "hi" \\ or /',
    control: str = "\x00\x01\b\t\n\x0b\f\r\x1f\x7f",
    html: str = "<a href='x'>&amp;</a>",
    lines: str = "\u2028\u2029",
    unicode: str = "d\u00e9j\u00e0 e\u0301 \u20ac \U0001f600 \ufb33 \uffff",
    dollar: str = "$file",
    keys: dict[str, int] = {"\U0001f600": 1, "\ufb33": 2, "z": 3, "": 4, '"': 5, "#": 6},
) -> dict[str, str]:
    return {unicode: control, quotes: html, lines: dollar, empty: empty}


@stage
def others(
    yes: bool = True, no: bool = False, nothing: str | None = None, deep: list[list[list[bool]]] = [[[True], []], []]
) -> None:
    return None
