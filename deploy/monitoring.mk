# Prometheus, Alertmanager and Grafana around the server; see docs/monitoring.md.
.PHONY: up-monitoring down-monitoring reload-monitoring configure-alerts dashboards bench-metrics

up-monitoring: $(VENV)/.installed  ## start Prometheus, Alertmanager and Grafana (Docker or local programs)
	@$(PY) -m monitoring.stack up

down-monitoring: $(VENV)/.installed  ## stop them; their data stays
	@$(PY) -m monitoring.stack down

reload-monitoring: $(VENV)/.installed  ## check the configuration, then let them read it again
	@$(PY) -m monitoring.stack reload

configure-alerts: $(VENV)/.installed  ## say where alerts go (asks, or reads SLACK_WEBHOOK_URL and the like)
	@$(PY) -m monitoring.stack configure

dashboards: $(VENV)/.installed-test  ## generate deploy/grafana/dashboards from monitoring/dashboards
	@$(PY) -m monitoring.dashboards.build

bench-metrics: $(VENV)/.installed  ## scrape time and bytes beside plain prometheus_client
	@$(PY) -m bench.metrics
