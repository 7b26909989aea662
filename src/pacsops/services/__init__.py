"""What this host runs and what runs it (containers, systemd's units, supervisor's programs): state, orders, logs."""

from pacsops.services.health import trouble
from pacsops.services.host import Health, Host, Service, read_host
from pacsops.services.runtimes import Runtime, State, runtime_of

__all__ = ["Health", "Host", "Runtime", "Service", "State", "read_host", "runtime_of", "trouble"]
