"""Where the engine starts a worker; see `_worker`. Puts the folder that holds this package on the path, and nothing else."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

    from towpath._worker import main

    main()
