"""What a processor computes otherwise than newer ones, for the tolerances of tests."""

from __future__ import annotations

import platform
from pathlib import Path

_INFO = Path("/proc/cpuinfo")
_FLAGS = _INFO.read_text("utf-8", errors="replace") if _INFO.exists() else ""
_X86 = platform.machine() in ("x86_64", "AMD64")

# x86 processors without VNNI and AMX add products of 8 bits in 16 bits, which saturate.
SATURATES_INT8 = _X86 and "vnni" not in _FLAGS and "amx_int8" not in _FLAGS
# Without AVX-512 the kernels for half precision round otherwise for another batch.
ROUNDS_HALF_BY_BATCH = _X86 and "avx512" not in _FLAGS
