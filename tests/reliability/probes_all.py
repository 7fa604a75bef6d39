"""All probes of security, and the mistakes that they must find."""

from reliability import (
    probes_names,
    probes_paths,
    probes_roles,
    probes_secrets,
    probes_secrets_calls,
    probes_templates,
    probes_terminal,
    probes_terminal_cli,
)
from reliability.probes import PlantedHole, Probe, Probes

KINDS: list[Probes] = [
    probes_roles.ROLES,
    probes_names.NAMES,
    probes_templates.TEMPLATES,
    probes_terminal.TERMINAL,
    probes_paths.PATHS,
    probes_secrets.SECRETS,
]
HOLES: list[PlantedHole] = [
    *probes_roles.HOLES,
    *probes_names.HOLES,
    *probes_templates.HOLES,
    *probes_terminal.HOLES,
    *probes_terminal_cli.HOLES,
    *probes_paths.HOLES,
    *probes_secrets.HOLES,
    *probes_secrets_calls.HOLES,
]


def aimed_at(hole: PlantedHole) -> list[Probe]:
    """The probes that must find it."""
    return [probe for kind in KINDS for probe in kind.all if (probe.kind, probe.place) == (hole.kind, hole.place)]


def is_found(hole: PlantedHole) -> bool:
    """Whether something passes through the hole."""
    with hole.make():
        return any(probe.complaint() for probe in aimed_at(hole))
