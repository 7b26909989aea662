"""The gateway: receives images durably, writes them down, and forwards them where routes.yml says."""
