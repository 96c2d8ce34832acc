"""Files of the work tree, with patterns that take away and both roots."""

from towpath import Directory, source, stage


@stage
def build(
    src: Directory = source("src", "cmd/**/*.go", "!**/*_test.go", "!src/generated"),
    proto: Directory = source("proto/**/*.{proto,yaml}", root="repository"),
    docs: Directory = source("docs/[a-m]*.md", "docs/d\u00e9j\u00e0 vu?.md"),
    again: Directory = source("src", "src"),
    here: Directory = source("."),
) -> Directory:
    raise NotImplementedError
