#!/usr/bin/env bash
# Computes every golden anew with torch, transformers and diffusers, and shows what changed.
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)"
python="$("$here/../environment.sh" "$here/../demo-model")"
for script in noise pillow schedulers tokenizer golden layouts artifact compel_prompts; do
  "$python" "$here/$script.py"
done
git -C "$here" status --short -- ../../test/testdata/goldens
