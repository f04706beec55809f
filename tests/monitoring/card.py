"""A recorded sysfs tree of an RX 580, as amdgpu shows it under Linux 6.1."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "vendor": "0x1002",
    "device": "0x67df",
    "gpu_busy_percent": "37",
    "mem_busy_percent": "12",
    "mem_info_vram_total": "8589934592",
    "mem_info_vram_used": "2147483648",
    "mem_info_vis_vram_total": "268435456",
    "mem_info_vis_vram_used": "1048576",
    "mem_info_gtt_total": "8589934592",
    "mem_info_gtt_used": "33554432",
    "pp_dpm_sclk": "0: 300Mhz\n1: 600Mhz\n2: 900Mhz\n3: 1145Mhz\n4: 1215Mhz\n5: 1257Mhz *\n"
    "6: 1300Mhz\n7: 1366Mhz",
    "pp_dpm_mclk": "0: 300Mhz\n1: 1000Mhz\n2: 2000Mhz *",
    "hwmon/hwmon3/name": "amdgpu",
    "hwmon/hwmon3/temp1_input": "61000",
    "hwmon/hwmon3/temp1_crit": "94000",
    "hwmon/hwmon3/fan1_input": "1340",
    "hwmon/hwmon3/pwm1": "102",
    "hwmon/hwmon3/freq1_input": "1257000000",
    "hwmon/hwmon3/freq2_input": "2000000000",
    "hwmon/hwmon3/in0_input": "1081",
    "hwmon/hwmon3/power1_cap": "145000000",
    "hwmon/hwmon3/power1_average": "87240000",
}


def record(root: Path, card: str = "card0", **changes: str) -> Path:
    """Write the tree below root; a change of "" leaves a file out ("/" is written "__")."""
    device = root / "class/drm" / card / "device"
    files = FILES | {name.replace("__", "/"): text for name, text in changes.items()}
    for name, text in files.items():
        path = device / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text:
            path.write_text(text + "\n")
    # Connectors look like cards.
    (root / "class/drm" / f"{card}-HDMI-A-1").mkdir(exist_ok=True)
    return device
