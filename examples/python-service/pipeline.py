"""The pipeline of the parcel service.

`tow run` runs everything but `publish`, which changes the world and has to be asked for by name.
"""

from towpath import main

from stages.coverage import coverage
from stages.deps import deps
from stages.lint import lint
from stages.publish import publish
from stages.smoke import smoke
from stages.test import test
from stages.typecheck import typecheck
from stages.wheel import wheel

__all__ = ["coverage", "deps", "lint", "publish", "smoke", "test", "typecheck", "wheel"]

if __name__ == "__main__":
    main()
