"""The ways to reach a model that the fixture `way` has, by their names."""

WAYS_OF_SDKS = (
    *("openai", "openai, caller's client", "responses", "responses, caller's client"),
    *("anthropic", "anthropic, caller's client"),
)
WAYS = (*WAYS_OF_SDKS, "compatible")
