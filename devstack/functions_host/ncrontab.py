"""The schedule language of timers, read by the very file that the app reads it with.

Under a name of its own: an app is given no module of ours before it has loaded its own `shared_code`.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shared_code.model.ncrontab import BadSchedule, Schedule, parse
else:
    _file = Path(__file__).parents[2] / "shared_code" / "model" / "ncrontab.py"
    _spec = spec_from_file_location(f"{__name__}_file", _file)
    _module = sys.modules[_spec.name] = module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    BadSchedule, Schedule, parse = _module.BadSchedule, _module.Schedule, _module.parse

__all__ = ["BadSchedule", "Schedule", "parse"]
