"""Prometheus and Alertmanager around the server: configure, start, reload and stop them."""
