"""System: the card, the host, the containers and the monitoring itself."""

from __future__ import annotations

from monitoring.dashboards.panel import BAD, GOOD, WARNING, Board, Row, graph, stat

JOB = 'job=~"$job"'
CARD = f'{JOB},card=~"$card"'
NO_CARD = "No reading"  # no card, or nobody to ask
DISKS = '{fstype!~"tmpfs|overlay|squashfs|ramfs"}'
RATE = "[$__rate_interval]"


def _card(metric: str) -> str:
    return f"max by (card) (rx580_gpu_{metric}{{{CARD}}})"


NOW = Row("Card now", (
    stat("GPU Busy", "Share of time the card computes.", "percentunit",
         f"max(rx580_gpu_busy_ratio{{{CARD}}})", empty=NO_CARD, maximum=1),
    stat("VRAM in Use", "Share of the card's memory in use.", "percentunit",
         f"max(job_instance_card:rx580_gpu_vram_used:ratio{{{CARD}}})", alert="GPUVRAMNearlyFull",
         empty=NO_CARD, maximum=1),
    stat("Temperature", "Edge temperature.", "celsius",
         f"max(rx580_gpu_temperature_celsius{{{CARD}}})", alert="GPUHot", empty=NO_CARD),
    stat("Power", "Power drawn.", "watt", f"max(rx580_gpu_power_watts{{{CARD}}})", empty=NO_CARD),
    stat("Suspect Workers", "Workers that no longer trust the card.", "short",
         f"max(rx580_device_suspect_workers{{{JOB}}})", states=((0, GOOD), (1, BAD)),
         empty="Unreachable"),
    stat("Memory in Use", "The card's where there is one, else the workers'.", "bytes",
         f"max(job_instance:rx580_memory_in_use:bytes{{{JOB}}})", alert="HighMemoryUsage",
         empty="Unreachable"),
))  # fmt: skip

GPU = Row("Card", (
    graph("GPU and Memory Busy", "Share of time that the cores and the memory are busy.",
          "percentunit", (_card("busy_ratio"), "{{card}} cores"),
          (_card("memory_busy_ratio"), "{{card}} memory"), empty=NO_CARD, maximum=1),
    graph("VRAM", "The card's memory, and what the workers' ledger knows of it.", "bytes",
          (_card("vram_used_bytes"), "{{card}} used"),
          (_card("vram_total_bytes"), "{{card}} limit"),
          (_card("gtt_used_bytes"), "{{card}} in system memory"),
          (f"max by (kind) (rx580_vram_ledger_bytes{{{JOB}}})", "ledger: {{kind}}"),
          alert="HighMemoryUsage", empty=NO_CARD),
    graph("GPU Temperature", "Edge temperature, and where the driver protects the card.", "celsius",
          (_card("temperature_celsius"), "{{card}}"),
          (_card("temperature_critical_celsius"), "{{card}} limit"), alert="GPUHot",
          empty=NO_CARD),
    graph("GPU Power", "Power drawn, and its cap.", "watt", (_card("power_watts"), "{{card}}"),
          (_card("power_cap_watts"), "{{card}} limit"), empty=NO_CARD),
    graph("Clocks", "Present clocks, and the highest of the card's table.", "hertz",
          (f"max by (card, clock) (rx580_gpu_clock_hertz{{{CARD}}})", "{{card}} {{clock}}"),
          (f"max by (card, clock) (rx580_gpu_clock_max_hertz{{{CARD}}})",
           "{{card}} {{clock}} limit"), empty=NO_CARD),
    graph("Fan", "Fan speed.", "rotrpm", (_card("fan_rpm"), "{{card}}"), empty=NO_CARD),
    graph("Fan Drive", "How hard the fan is driven, 0 to 1.", "percentunit",
          (_card("fan_ratio"), "{{card}}"), empty=NO_CARD, maximum=1),
    graph("Core Voltage", "Voltage of the cores.", "volt", (_card("voltage_volts"), "{{card}}"),
          empty=NO_CARD),
    graph("Device Faults", "Faults of the OpenCL device in 15 minutes, by kind.", "short",
          (f"sum by (kind) (increase(rx580_device_faults_total{{{JOB}}}[15m]))", "{{kind}}"),
          states=((0, GOOD), (1, BAD))),
    graph("Workers by Device", "What the workers compute on; wanted is 1 where the card is "
          "demanded.", "short",
          (f"sum by (backend, device) (rx580_backend_workers{{{JOB}}})",
           "{{backend}}: {{device}}"),
          (f"max(rx580_device_wanted{{{JOB}}})", "wanted")),
))  # fmt: skip

HOST = Row("Host", (
    graph("Host CPU", "Share of all cores in use.", "percentunit",
          (f'1 - avg by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}{RATE}))',
           "{{instance}}"), maximum=1, empty="No node_exporter"),
    graph("Host Memory Available", "Share of memory that is available.", "percentunit",
          ("node_memory_MemAvailable_bytes / (node_memory_MemTotal_bytes > 0)", "{{instance}}"),
          maximum=1, empty="No node_exporter"),
    graph("File Systems", "Share in use.", "percentunit",
          (f"1 - max by (mountpoint) (node_filesystem_avail_bytes{DISKS} "
           f"/ (node_filesystem_size_bytes{DISKS} > 0))",
           "{{mountpoint}}"), alert="HostDiskFilling", maximum=1, empty="No node_exporter"),
    graph("Network", "Bytes received and sent per second.", "Bps",
          (f'sum by (device) (rate(node_network_receive_bytes_total{{device!="lo"}}{RATE}))',
           "{{device}} in"),
          (f'sum by (device) (rate(node_network_transmit_bytes_total{{device!="lo"}}{RATE}))',
           "{{device}} out"), empty="No node_exporter"),
))  # fmt: skip

CONTAINERS = Row("Containers", (
    graph("Container CPU", "Cores used by each container.", "short",
          (f'sum by (name) (rate(container_cpu_usage_seconds_total{{name=~"rx580-.+"}}{RATE}))',
           "{{name}}"), empty="No containers"),
    graph("Container Memory", "Working set of each container.", "bytes",
          ('sum by (name) (container_memory_working_set_bytes{name=~"rx580-.+"})', "{{name}}"),
          empty="No containers"),
    graph("Container Restarts", "Starts within 10 minutes.", "short",
          ('changes(max by (name) (container_start_time_seconds{name=~"rx580-.+"})[10m:15s])',
           "{{name}}"), alert="ContainerRestarting", empty="No containers"),
))  # fmt: skip

MONITORING = Row("Monitoring", (
    graph("Targets", "1 where Prometheus reaches a target.", "short",
          ("min by (job) (up)", "{{job}}"), states=((0, BAD), (1, GOOD)), maximum=1),
    graph("Scrape Time", "How long a scrape takes, by target.", "s",
          ("max by (job) (scrape_duration_seconds)", "{{job}}"),
          (f"max(rx580_metrics_collect_seconds{{{JOB}}})", "collecting our files"),
          states=((0, GOOD), (.25, WARNING))),
    graph("Metric Files", "Files of the workers' slots that a scrape reads, and damaged ones.",
          "short", (f"max(rx580_metrics_files{{{JOB}}})", "files"),
          (f"max(rx580_metrics_files_broken{{{JOB}}})", "damaged")),
    graph("Metric File Bytes", "Bytes that a scrape reads: flat, however often workers restart.",
          "bytes", (f"max(rx580_metrics_file_bytes{{{JOB}}})", "bytes")),
    graph("Notifications", "Messages per second that Alertmanager sent, and failures.", "short",
          (f"sum by (integration) (rate(alertmanager_notifications_total{RATE})) "
           "and sum by (integration) (alertmanager_notifications_total) > 0", "{{integration}}"),
          (f"sum(rate(alertmanager_notifications_failed_total{RATE}))", "failed"),
          empty="No Alertmanager"),
))  # fmt: skip

BOARD = Board(
    uid="rx580-system",
    file="system.json",
    title="RX 580 API / System",
    description="The card, the host, the containers and the monitoring itself.",
    refresh="10s",
    rows=(NOW, GPU, HOST, CONTAINERS, MONITORING),
    variables=(("card", "Card", "label_values(rx580_gpu_vram_total_bytes, card)", True),),
)
