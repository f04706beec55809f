"""The inference server. Empty on purpose: importing app.engine must not import Flask."""
