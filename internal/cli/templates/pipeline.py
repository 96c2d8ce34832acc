"""The pipeline of this project. `tow run` runs it, `tow stages` lists its stages."""

from towpath import Directory, File, main, out, run, source, stage


@stage
async def count(src: Directory = source("*")) -> File:
    """Count the lines of every file beside the pipeline."""
    command = "find . -type f ! -path ./lines.txt -print0 | sort -z | xargs -0 wc -l > lines.txt"
    result = await run("sh", "-c", command, tree=src, outputs=["lines.txt"])
    return result.file("lines.txt")


@stage
async def report(lines: File = out(count)) -> str:
    """Say how many lines there are in all."""
    text = await lines.text()
    return text.strip().splitlines()[-1].strip()


if __name__ == "__main__":
    main()
