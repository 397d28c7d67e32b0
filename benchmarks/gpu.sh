#!/usr/bin/env bash
# Tests and measures Magpie on a CUDA machine, in about four minutes:
#
#     benchmarks/gpu.sh OUT_DIR [WHEELS_DIR]
#
# WHEELS_DIR: wheels of what this machine's Python lacks; they are put into a folder of their own.
# PYTHON: the interpreter whose torch sees the device (default python3). MAGPIE_COMMIT: the commit,
# where the files came without their history. CAMERAS: how many density begins with (default 8).
# DEVICE: cpu to try the script itself where there is no device (default cuda).
# OUT_DIR gets JSON, drawings and one log. Goes on after a failure; fails at the end if any did.
set -uo pipefail
[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd)
wheels=${2:+$(cd "$2" && pwd)}
cd "$(dirname "$0")/.." || exit 1
python=${PYTHON:-python3} device=${DEVICE:-cuda}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" MAGPIE_CACHE="$work/cache"
export PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR="$work/matplotlib" YOLO_CONFIG_DIR="$work/yolo"
log="$out/gpu.log"
: >"$log"
names=() results=() took=()

# step NAME LIMIT_S COMMAND...: run it into the log; note how it ended.
step() {
  local name=$1 limit=$2 began=$SECONDS code
  shift 2
  printf '\n===== %s: at most %s s\n' "$name" "$limit" | tee -a "$log"
  timeout --kill-after=10 "$limit" "$@" >"$work/step.log" 2>&1
  code=$?
  cat "$work/step.log" >>"$log"
  tail -n 25 "$work/step.log"
  names+=("$name") results+=("$code") took+=($((SECONDS - began)))
}

facts() {
  nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv
  nproc
  "$python" - <<'PY'
import importlib, platform, sys
import torch

print("python", platform.python_version(), "torch", torch.__version__, "cuda", torch.version.cuda)
print("device", torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none")
wanted = "av cv2 faiss kornia numpy pydantic pytest rich safetensors supervision timm trackers"
wanted += " typer ultralytics yaml zmq psutil matplotlib pytorch_metric_learning"
missing = []
import pipeline.offline  # before what would ask the network
for name in wanted.split():
    try:
        importlib.import_module(name)
    except Exception as error:
        missing.append(f"{name}: {type(error).__name__}: {error}")
print("\n".join(missing) or "all packages are there")
sys.exit(bool(missing) or not torch.cuda.is_available())
PY
}

magpie() { "$python" -c 'from streamer.cli import main; main()' "$@"; }
export -f facts magpie
export python

if [ -n "$wheels" ]; then
  step wheels 60 "$python" -m pip install --quiet --no-index --no-deps --target "$work/site" \
    "$wheels"/*.whl
  PYTHONPATH="$PYTHONPATH:$work/site"
fi
step facts 40 bash -c facts
step tests 100 "$python" -m pytest -q -p no:cacheprovider -W default -m 'gpu and not slow' \
  tests/pipeline/engines tests/pipeline/test_matcher_on_cuda.py \
  tests/catalog_tools/train/test_training.py --durations=5
common=(--out "$out" --material "$work/material" --engine torch --device "$device")
step material 70 bash -c 'magpie bench material "$@"' - --out "$work/material" --fast --scene \
  --engine torch --device "$device"
step stages 70 bash -c 'magpie bench stages "$@"' - "${common[@]}" --fast --seconds 0.15
step throughput 80 bash -c 'magpie bench throughput "$@"' - "${common[@]}" --fast --seconds 6 \
  --cameras 1 --cameras 8
step density 100 bash -c 'magpie bench density "$@"' - "${common[@]}" --seconds 6 \
  --start "${CAMERAS:-8}" --within 40

printf '\n%-12s %-8s %s\n' step result seconds | tee -a "$log"
failed=0
for i in "${!names[@]}"; do
  result=ok
  if [ "${results[$i]}" -ne 0 ]; then
    result="failed(${results[$i]})"
    failed=1
  fi
  printf '%-12s %-12s %s\n' "${names[$i]}" "$result" "${took[$i]}" | tee -a "$log"
done
printf 'in all %s s; JSON, drawings and gpu.log are in %s\n' "$SECONDS" "$(basename "$out")"
exit "$failed"
