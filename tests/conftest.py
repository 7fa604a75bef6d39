"""What holds for every test: no keys, no network, no clock."""

import os
import runpy
from pathlib import Path

from hypothesis import settings

runpy.run_path(str(Path(__file__).parent / "support" / "offline" / "sitecustomize.py"))

for name in [name for name in os.environ if name.startswith(("OPENAI_", "ANTHROPIC_", "MINIAGENTS_"))]:
    del os.environ[name]  # whoever runs the tests may have keys; a test that wants a variable sets it

# Beside the rule for sockets: so a request that would be real is refused before it is sent, in words.
os.environ["MINIAGENTS_OFFLINE"] = "1"

# A slow machine is no reason to fail, so generated tests have no deadline of their own. Nor is chance: the cases of a test
# are the same in each run. `pytest --hypothesis-profile explore` looks for others, and for more of them; in a CI job too,
# where hypothesis by itself would take the same cases each time, and it shows how to run again what it has found.
settings.register_profile("miniagents", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, derandomize=False, print_blob=True, max_examples=1_000)
settings.load_profile("miniagents")
