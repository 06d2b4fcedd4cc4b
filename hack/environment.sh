#!/usr/bin/env bash
# Makes the Python environment that the requirements.txt of a folder pins, once, and prints its interpreter.
#
#   hack/environment.sh hack/demo-model   of the demo model and the goldens
#   hack/environment.sh hack/peer         of optimum: optimum-onnx needs a version of transformers that is older than
#                                         what diffusers 0.42 works with, so that it is not the one of the goldens
#
#   ATELIER_DEMO_MODEL_WORK, ATELIER_PEER_WORK   where it lies (~/.cache/atelier/demo-model, ~/.cache/atelier/peer)
#   PYTHON                                       the interpreter it is made with (python3)
set -euo pipefail

folder="${1:?the folder of a requirements.txt, such as hack/peer}"
name="$(basename "$folder")"
variable="ATELIER_$(tr a-z- A-Z_ <<<"$name")_WORK"
work="${!variable:-$HOME/.cache/atelier/$name}"
mkdir -p "$work"

if [[ ! -x "$work/venv/bin/python" ]]; then
  "${PYTHON:-python3}" -m venv "$work/venv"
fi
"$work/venv/bin/pip" install --quiet -r "$folder/requirements.txt" >&2
echo "$work/venv/bin/python"
