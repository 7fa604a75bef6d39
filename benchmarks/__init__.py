"""What agents, tokens and messages cost, beside asyncio written by hand and beside other frameworks. See README.md."""
