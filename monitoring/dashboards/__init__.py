"""The three dashboards as tables of panels; build.py makes Grafana's JSON of them."""
